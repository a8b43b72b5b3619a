import { css } from "lit";

export const styles = css`
  :host {
    --accent: #e5484d;
    display: block;
    color: #f4f4f6;
    font: 400 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  }
  * {
    box-sizing: border-box;
  }
  .page {
    display: grid;
    grid-template-columns: minmax(0, 1.6fr) minmax(19rem, 1fr);
    grid-template-areas: "head head" "stage form" "level form" "problem form" "figures form" "watch form";
    grid-template-rows: auto auto auto auto auto 1fr;
    gap: 0.75rem 1.5rem;
    max-width: 76rem;
    margin: 0 auto;
    padding: 1.25rem clamp(0.75rem, 3vw, 2rem) 2rem;
  }
  header {
    grid-area: head;
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.5rem 1rem;
  }
  h1 {
    margin: 0;
    font-size: 1.35rem;
    font-weight: 650;
  }
  .name {
    overflow-wrap: anywhere;
  }
  .state {
    margin: 0;
    padding: 0.15rem 0.75rem;
    border-radius: 99px;
    background: #2a2c34;
    font-weight: 600;
  }
  .state.live {
    background: #c62a30;
  }
  .state.connecting,
  .state.reconnecting,
  .state.replaced {
    background: #ffd166;
    color: #1a1b20;
  }
  .stage {
    grid-area: stage;
    position: relative;
    aspect-ratio: 16 / 9;
    border-radius: 12px;
    overflow: hidden;
    background: #000;
  }
  .stage video {
    width: 100%;
    height: 100%;
    object-fit: contain;
  }
  .empty {
    position: absolute;
    inset: 0;
    display: grid;
    place-items: center;
    margin: 0;
    color: #b9bac4;
  }
  .level {
    grid-area: level;
    height: 10px;
    border-radius: 5px;
    overflow: hidden;
    background: linear-gradient(90deg, #2fa36b 0 70%, #d9a521 70% 92%, #e5484d 92%);
  }
  .level span {
    display: block;
    height: 100%;
    margin-inline-start: calc(var(--level, 0) * 100%);
    background: #2a2c34;
  }
  .problem {
    grid-area: problem;
  }
  .problem p {
    margin: 0;
    padding: 0.7rem 1rem;
    border-radius: 10px;
    border-inline-start: 5px solid var(--accent);
    background: #3a1d20;
    overflow-wrap: anywhere;
  }
  form {
    grid-area: form;
    align-self: start;
  }
  .fields {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr);
    gap: 0.7rem 0.9rem;
    align-items: center;
  }
  label[for="key"] {
    align-self: start;
    padding-top: 0.6rem;
  }
  input:not([type="checkbox"]),
  select {
    width: 100%;
    min-height: 44px;
    padding: 0.4rem 0.7rem;
    border: 1px solid #565967;
    border-radius: 8px;
    background: #1a1c22;
    color: inherit;
    font: inherit;
  }
  :disabled {
    opacity: 0.55;
  }
  small {
    display: block;
    color: #b9bac4;
    font-size: 0.82rem;
  }
  .check {
    display: grid;
    grid-template-columns: auto 1fr;
    gap: 0.1rem 0.6rem;
    align-items: center;
  }
  .check input {
    width: 22px;
    height: 22px;
    accent-color: var(--accent);
  }
  .check small {
    grid-column: 2;
  }
  .buttons {
    display: grid;
    gap: 0.6rem;
    margin-top: 1.1rem;
  }
  button {
    min-height: 48px;
    padding: 0.5rem 1rem;
    border: 0;
    border-radius: 10px;
    font: inherit;
    font-weight: 650;
    cursor: pointer;
  }
  .first {
    background: #c62a30;
    color: #fff;
  }
  .first.stop {
    background: #f4f4f6;
    color: #16181d;
  }
  .second {
    background: #2a2c34;
    color: inherit;
  }
  button:disabled {
    cursor: default;
  }
  :focus-visible {
    outline: 3px solid #9ec1ff;
    outline-offset: 2px;
  }
  section:has(.figures) {
    grid-area: figures;
  }
  .figures {
    display: flex;
    flex-wrap: wrap;
    gap: 0.4rem 1.6rem;
    margin: 0;
    font-variant-numeric: tabular-nums;
  }
  dt {
    color: #b9bac4;
    font-size: 0.82rem;
  }
  dd {
    margin: 0;
    font-weight: 600;
  }
  .limited {
    margin: 0.5rem 0 0;
    color: #ffd166;
  }
  .watch {
    grid-area: watch;
    margin: 0;
  }
  a {
    color: #9ec1ff;
  }
  @media (max-width: 52rem) {
    .page {
      grid-template-columns: minmax(0, 1fr);
      grid-template-areas: "head" "stage" "level" "problem" "figures" "form" "watch";
      grid-template-rows: none;
    }
    .buttons {
      position: sticky;
      bottom: 0;
      padding: 0.6rem 0;
      background: #101014;
    }
  }
`;
