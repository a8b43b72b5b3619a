/** Line icons on a 24-unit grid, drawn for this player. */
import { html, svg, type TemplateResult } from "lit";

const SHAPES = {
  play: svg`<path d="M7 4.8v14.4a.6.6 0 0 0 .92.5l11.2-7.2a.6.6 0 0 0 0-1L7.92 4.3A.6.6 0 0 0 7 4.8Z" fill="currentColor"/>`,
  pause: svg`<path d="M8 5v14M16 5v14" stroke-width="3.2"/>`,
  sound: svg`<path d="M4 9.5v5h3.2L12 18.5v-13L7.2 9.5Z" fill="currentColor"/><path d="M15.4 9a4.2 4.2 0 0 1 0 6M18 6.4a8 8 0 0 1 0 11.2"/>`,
  muted: svg`<path d="M4 9.5v5h3.2L12 18.5v-13L7.2 9.5Z" fill="currentColor"/><path d="m16 9.5 5 5m0-5-5 5"/>`,
  gear: svg`<path d="M4 7h9m5 0h2M4 17h2m5 0h9"/><circle cx="15.5" cy="7" r="2.4"/><circle cx="8.5" cy="17" r="2.4"/>`,
  chapters: svg`<path d="M4 6h1m4 0h11M4 12h1m4 0h11M4 18h1m4 0h11"/>`,
  bag: svg`<path d="M5.5 8.5h13l1 11a.9.9 0 0 1-.9 1H5.4a.9.9 0 0 1-.9-1Z"/><path d="M8.5 11V7.2a3.5 3.5 0 0 1 7 0V11"/>`,
  expand: svg`<path d="M4 9V4.6h4.4M20 9V4.6h-4.4M4 15v4.4h4.4M20 15v4.4h-4.4"/>`,
  shrink: svg`<path d="M8.6 4.4V9H4.2M15.4 4.4V9h4.4M8.6 19.6V15H4.2M15.4 19.6V15h4.4"/>`,
  close: svg`<path d="m6.5 6.5 11 11m0-11-11 11"/>`,
  check: svg`<path d="m5 12.5 4.6 4.6L19 7.6"/>`,
} as const;
export type IconName = keyof typeof SHAPES;

export function icon(name: IconName): TemplateResult {
  return html`<svg viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor"
    stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"
    focusable="false">${SHAPES[name]}</svg>`;
}
