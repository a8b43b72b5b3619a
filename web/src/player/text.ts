/** Words: the choice among a cue's languages, and the player's own. */
import type { Text } from "../cues/model";

/** The text for the wanted languages, best first: exact tag, then its language, then English, then any. */
export function chooseText(text: Text | undefined, languages: readonly string[]): string {
  if (text === undefined) return "";
  if (typeof text === "string") return text;
  const byTag = new Map(Object.entries(text).map(([tag, value]) => [tag.toLowerCase(), value]));
  for (const wanted of [...languages, "en"]) {
    const tag = wanted.toLowerCase();
    const language = tag.split("-")[0] ?? tag;
    const exact = byTag.get(tag) ?? byTag.get(language);
    if (exact !== undefined) return exact;
    for (const [other, value] of byTag) if (other.split("-")[0] === language) return value;
  }
  return byTag.values().next().value ?? "";
}

const ENGLISH = {
  player: "Live shopping video",
  play: "Play",
  pause: "Pause",
  mute: "Mute",
  unmute: "Turn sound on",
  fullscreen: "Full screen",
  exitFullscreen: "Leave full screen",
  live: "Live",
  goLive: "Go to live",
  quality: "Quality",
  sound: "Sound",
  auto: "Automatic",
  chapters: "Chapters",
  noChapters: "No chapters yet",
  products: "On screen now",
  noProducts: "Nothing on screen right now",
  show: "Show",
  close: "Close",
  idle: "The show has not started yet.",
  idleMore: "This page starts by itself as soon as it does.",
  loading: "Loading…",
  reconnecting: "The picture is interrupted. Reconnecting…",
  reconnectingMore: "It goes on by itself; there is no need to reload.",
  ended: "The show is over.",
  endedMore: "Thank you for watching.",
  unsupported: "This browser cannot play the show.",
  unsupportedMore: "A current version of Safari, Chrome, Firefox or Edge can.",
  chapterNow: "Chapter:",
  productNow: "Product:",
  notShownAgain: "No longer available to seek to",
};
export type Words = { readonly [K in keyof typeof ENGLISH]: string };

const GERMAN: Words = {
  player: "Live-Shopping-Video",
  play: "Abspielen",
  pause: "Anhalten",
  mute: "Ton aus",
  unmute: "Ton an",
  fullscreen: "Vollbild",
  exitFullscreen: "Vollbild verlassen",
  live: "Live",
  goLive: "Zum Live-Bild",
  quality: "Qualität",
  sound: "Ton",
  auto: "Automatisch",
  chapters: "Kapitel",
  noChapters: "Noch keine Kapitel",
  products: "Jetzt im Bild",
  noProducts: "Gerade ist nichts im Bild",
  show: "Ansehen",
  close: "Schließen",
  idle: "Die Show hat noch nicht begonnen.",
  idleMore: "Diese Seite startet dann von selbst.",
  loading: "Wird geladen …",
  reconnecting: "Das Bild ist unterbrochen. Verbindung wird wiederhergestellt …",
  reconnectingMore: "Es geht von selbst weiter; neu laden ist nicht nötig.",
  ended: "Die Show ist zu Ende.",
  endedMore: "Danke fürs Zuschauen.",
  unsupported: "Dieser Browser kann die Show nicht abspielen.",
  unsupportedMore: "Ein aktueller Safari, Chrome, Firefox oder Edge kann es.",
  chapterNow: "Kapitel:",
  productNow: "Produkt:",
  notShownAgain: "Nicht mehr erreichbar",
};

export function words(languages: readonly string[]): Words {
  for (const wanted of languages) {
    if (wanted.toLowerCase().startsWith("de")) return GERMAN;
    if (wanted.toLowerCase().startsWith("en")) return ENGLISH;
  }
  return ENGLISH;
}
