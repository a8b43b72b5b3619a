/** Keyboard commands of the player (the ones that video sites share). */

export type Command =
  | "toggle"
  | "mute"
  | "fullscreen"
  | "back"
  | "forward"
  | "louder"
  | "quieter"
  | "live"
  | "chapters"
  | "close";

const KEYS: Readonly<Record<string, Command>> = {
  " ": "toggle",
  k: "toggle",
  m: "mute",
  f: "fullscreen",
  ArrowLeft: "back",
  ArrowRight: "forward",
  ArrowUp: "louder",
  ArrowDown: "quieter",
  l: "live",
  End: "live",
  c: "chapters",
  Escape: "close",
};

export interface Press {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
}

/** `target` is the innermost focused element: space belongs to a button, every key to a text field. */
export function commandOf(press: Press, target: { readonly tagName: string } | null): Command | null {
  if (press.ctrlKey || press.metaKey || press.altKey) return null;
  const tag = target?.tagName ?? "";
  if (tag === "INPUT" || tag === "TEXTAREA" || tag === "SELECT") return null;
  if (press.key === " " && (tag === "BUTTON" || tag === "A")) return null;
  const key = press.key.length === 1 ? press.key.toLowerCase() : press.key;
  return KEYS[key] ?? null;
}
