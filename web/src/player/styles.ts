import { css } from "lit";

export const styles = css`
  :host {
    --vitrina-accent: #e5484d;
    --vitrina-surface: rgb(255 255 255 / 0.96);
    --vitrina-ink: #16181d;
    --vitrina-radius: 14px;
    --vitrina-font: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
    display: block;
    position: relative;
    container-type: size;
    overflow: hidden;
    aspect-ratio: 16 / 9;
    background: #0b0c0f;
    color: #fff;
    font: 400 15px/1.4 var(--vitrina-font);
    -webkit-tap-highlight-color: transparent;
  }
  :host(:fullscreen) {
    width: 100vw;
    height: 100vh;
    aspect-ratio: auto;
  }
  :host([hidden]) {
    display: none;
  }
  *,
  *::before {
    box-sizing: border-box;
  }
  video {
    position: absolute;
    inset: 0;
    width: 100%;
    height: 100%;
    object-fit: contain;
  }
  button {
    font: inherit;
    color: inherit;
    background: none;
    border: 0;
    padding: 0;
    cursor: pointer;
    touch-action: manipulation;
  }
  :focus-visible {
    outline: 3px solid #fff;
    outline-offset: 2px;
    box-shadow: 0 0 0 6px rgb(0 0 0 / 0.75);
  }
  .sr {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }

  .stage {
    position: absolute;
    inset: 0;
  }
  .picture {
    position: absolute;
    pointer-events: none;
  }
  .hotspot {
    position: absolute;
    left: 0;
    top: 0;
    pointer-events: auto;
    will-change: transform;
  }
  .hotspot .region {
    position: absolute;
    border: 2px solid rgb(255 255 255 / 0.95);
    border-radius: 12px;
    background: rgb(255 255 255 / 0.08);
    box-shadow: 0 0 0 1px rgb(0 0 0 / 0.35), 0 4px 20px rgb(0 0 0 / 0.25);
    transition: background 0.15s;
  }
  .hotspot.ellipse .region {
    border-radius: 50%;
  }
  .hotspot:hover .region,
  .hotspot:focus-visible .region {
    background: rgb(255 255 255 / 0.22);
  }
  .hotspot .tag {
    position: absolute;
    top: 100%;
    left: 50%;
    translate: -50% 7px;
    max-width: 220px;
    padding: 4px 11px;
    border-radius: 99px;
    background: var(--vitrina-surface);
    color: var(--vitrina-ink);
    font-size: 13px;
    font-weight: 600;
    white-space: nowrap;
    overflow: hidden;
    text-overflow: ellipsis;
    box-shadow: 0 2px 12px rgb(0 0 0 / 0.28);
  }
  .hotspot.high .tag {
    top: auto;
    bottom: 100%;
    translate: -50% -7px;
  }

  .chrome {
    position: absolute;
    inset: auto 0 0;
    display: flex;
    align-items: center;
    gap: 2px;
    padding: 36px 10px calc(8px + env(safe-area-inset-bottom, 0px));
    background: linear-gradient(transparent, rgb(0 0 0 / 0.72));
    transition: opacity 0.25s;
  }
  .chrome > .grow {
    flex: 1;
  }
  .tool {
    display: grid;
    place-items: center;
    min-width: 44px;
    height: 44px;
    border-radius: 12px;
    position: relative;
  }
  .tool:hover {
    background: rgb(255 255 255 / 0.16);
  }
  .tool[aria-expanded="true"] {
    background: rgb(255 255 255 / 0.22);
  }
  .tool .count {
    position: absolute;
    top: 3px;
    right: 2px;
    min-width: 18px;
    padding: 0 4px;
    border-radius: 9px;
    background: #fff;
    color: var(--vitrina-ink);
    font-size: 11px;
    font-weight: 700;
    line-height: 18px;
    text-align: center;
  }
  .live {
    grid-auto-flow: column;
    gap: 7px;
    padding: 0 12px;
    font-size: 12.5px;
    font-weight: 700;
    letter-spacing: 0.05em;
    text-transform: uppercase;
  }
  .live::before {
    content: "";
    width: 8px;
    height: 8px;
    border-radius: 50%;
    background: #9aa0aa;
  }
  .live.on::before {
    background: var(--vitrina-accent);
  }

  .top {
    position: absolute;
    inset: 0 0 auto;
    display: flex;
    flex-direction: column;
    align-items: flex-start;
    gap: 8px;
    padding: calc(12px + env(safe-area-inset-top, 0px)) 14px 0;
    pointer-events: none;
  }
  .top > * {
    pointer-events: auto;
  }
  .chapter {
    max-width: 100%;
    padding: 5px 13px;
    border-radius: 99px;
    background: rgb(0 0 0 / 0.55);
    font-size: 13.5px;
    font-weight: 600;
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  .notice {
    max-width: min(100%, 460px);
    padding: 9px 14px;
    border-radius: var(--vitrina-radius);
    background: rgb(20 22 28 / 0.86);
    font-size: 14px;
    overflow-wrap: anywhere;
    border-inline-start: 4px solid #7aa7ff;
  }
  .notice.legal {
    border-color: #b7bcc6;
    font-size: 12.5px;
  }
  .notice.warning {
    border-color: #ffb224;
  }
  .notice a {
    color: inherit;
    display: inline-block;
    padding: 13px 0;
    margin: -13px 0;
  }

  .pins {
    position: absolute;
    inset-inline-start: 14px;
    bottom: calc(62px + env(safe-area-inset-bottom, 0px));
    display: flex;
    flex-direction: column;
    gap: 8px;
    width: min(320px, calc(100% - 28px));
    pointer-events: none;
  }
  .pin {
    display: flex;
    align-items: center;
    gap: 12px;
    width: 100%;
    min-height: 60px;
    padding: 8px 8px 8px 10px;
    border-radius: var(--vitrina-radius);
    background: var(--vitrina-surface);
    color: var(--vitrina-ink);
    text-align: start;
    box-shadow: 0 6px 28px rgb(0 0 0 / 0.28);
    pointer-events: auto;
    animation: rise 0.22s ease-out;
  }
  .pin img,
  .pin .thumb {
    flex: none;
    width: 44px;
    height: 44px;
    border-radius: 9px;
    object-fit: cover;
    background: #eceef2;
    display: grid;
    place-items: center;
    color: #5c6370;
  }
  .pin .side {
    flex: 1;
    min-width: 0;
  }
  .pin .what {
    font-weight: 600;
    line-height: 1.25;
    display: -webkit-box;
    -webkit-line-clamp: 2;
    -webkit-box-orient: vertical;
    overflow: hidden;
  }
  .price {
    display: block;
    font-size: 13px;
    font-weight: 400;
    color: #4a505c;
  }
  .pin .go {
    padding: 9px 14px;
    border-radius: 99px;
    background: var(--vitrina-ink);
    color: #fff;
    font-size: 13px;
    font-weight: 600;
  }
  @keyframes rise {
    from {
      opacity: 0;
      transform: translateY(10px);
    }
  }

  .panel {
    position: absolute;
    inset-inline-end: 12px;
    bottom: calc(62px + env(safe-area-inset-bottom, 0px));
    width: min(300px, calc(100% - 24px));
    max-height: calc(100% - 84px);
    overflow: auto;
    padding: 8px;
    border-radius: var(--vitrina-radius);
    background: rgb(20 22 28 / 0.95);
    box-shadow: 0 10px 40px rgb(0 0 0 / 0.4);
  }
  .panel h2 {
    margin: 6px 10px 4px;
    font-size: 12.5px;
    font-weight: 600;
    color: #b9bec8;
  }
  .panel p {
    margin: 8px 10px 12px;
    color: #c9cdd5;
  }
  .row {
    display: flex;
    align-items: center;
    gap: 10px;
    width: 100%;
    min-height: 44px;
    padding: 6px 10px;
    border-radius: 9px;
    text-align: start;
  }
  .row:hover:enabled {
    background: rgb(255 255 255 / 0.12);
  }
  .row:disabled {
    color: #8a909c;
    cursor: default;
  }
  .row .main {
    flex: 1;
    min-width: 0;
    overflow-wrap: anywhere;
  }
  .row .side {
    color: #b9bec8;
    font-size: 13px;
    font-variant-numeric: tabular-nums;
  }
  .row .mark {
    width: 20px;
    display: grid;
  }
  .row svg {
    width: 20px;
    height: 20px;
  }

  .message {
    position: absolute;
    inset: 0;
    display: grid;
    place-content: center;
    justify-items: center;
    gap: 6px;
    padding: 20px;
    text-align: center;
    background: rgb(11 12 15 / 0.72);
    pointer-events: none;
  }
  .message.solid {
    background: radial-gradient(120% 90% at 50% 40%, #23262e, #0b0c0f);
  }
  .message strong {
    font-size: 19px;
    font-weight: 600;
    text-wrap: balance;
  }
  .message span {
    color: #c4c9d2;
    text-wrap: balance;
  }
  .spinner {
    width: 38px;
    height: 38px;
    margin-bottom: 10px;
    border-radius: 50%;
    border: 3px solid rgb(255 255 255 / 0.22);
    border-top-color: #fff;
    animation: turn 0.9s linear infinite;
  }
  @keyframes turn {
    to {
      rotate: 1turn;
    }
  }
  .start,
  .unmute {
    position: absolute;
    display: flex;
    align-items: center;
    gap: 8px;
    background: var(--vitrina-surface);
    color: var(--vitrina-ink);
    border-radius: 99px;
    font-weight: 600;
    box-shadow: 0 4px 24px rgb(0 0 0 / 0.35);
  }
  .start {
    inset: 0;
    margin: auto;
    width: 76px;
    height: 76px;
    justify-content: center;
  }
  .start svg {
    width: 34px;
    height: 34px;
  }
  .unmute {
    top: calc(12px + env(safe-area-inset-top, 0px));
    inset-inline-end: 14px;
    min-height: 44px;
    padding: 0 16px 0 12px;
    font-size: 14px;
  }
  ::slotted([slot="checkout"]),
  ::slotted([slot="chat"]) {
    position: absolute;
  }

  .quiet .chrome {
    opacity: 0;
    pointer-events: none;
  }
  .quiet {
    cursor: none;
  }
  @container (max-width: 480px) {
    .top {
      padding-inline: 10px;
    }
    .unmute {
      inset-inline-end: 10px;
    }
    .top.beside {
      padding-inline-end: 66px;
    }
    .unmute span {
      display: none;
    }
    .unmute {
      padding: 0 10px;
    }
    .pins {
      inset-inline: 10px;
      width: auto;
    }
    .panel {
      inset-inline: 8px;
      width: auto;
    }
    .chrome {
      padding-inline: 4px;
    }
    .live {
      padding: 0 8px;
    }
  }
  @container (max-width: 480px) {
    .open .pins {
      visibility: hidden;
    }
  }
  @container (max-height: 260px) {
    .top {
      padding-top: 8px;
      gap: 4px;
    }
    .notice {
      padding: 4px 10px;
      font-size: 12.5px;
    }
    .chapter {
      padding: 2px 10px;
      font-size: 12.5px;
    }
    .pin {
      min-height: 44px;
      padding-block: 2px;
    }
    .pin img,
    .pin .thumb {
      width: 36px;
      height: 36px;
    }
    .pin .what {
      -webkit-line-clamp: 1;
    }
    .pins {
      bottom: 54px;
    }
    .chrome {
      padding-bottom: 4px;
    }
    .unmute {
      top: 4px;
    }
    .message strong {
      font-size: 16px;
    }
  }
  @media (prefers-reduced-motion: reduce) {
    *,
    *::before {
      animation: none !important;
      transition: none !important;
    }
  }
  @media (forced-colors: active) {
    .hotspot .region,
    .pin,
    .tool {
      border: 2px solid ButtonText;
    }
  }
`;
