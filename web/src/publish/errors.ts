/** Every failure of the publish page as a sentence that says what to do. */
import { Refused } from "../webrtc/signalling";
import type { Words } from "./text";

/** What getUserMedia and getDisplayMedia throw (mediacapture-streams §10, screen-capture §5). */
export function captureError(error: unknown, screen: boolean, words: Words): string {
  const { name = "", message = "" } = (error ?? {}) as { name?: string; message?: string };
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return screen ? words.deniedScreen : words.denied;
    case "NotFoundError":
      return words.missing;
    case "NotReadableError":
    case "AbortError":
      return words.busy;
    case "OverconstrainedError":
      return words.constraint;
    default:
      return `${words.capture} ${message || name}`;
  }
}

/** What the server or the browser said to an offer; the server's own sentence comes after ours. */
export function publishError(error: unknown, words: Words): string {
  if (!(error instanceof Refused)) {
    const { name = "", message = "" } = (error ?? {}) as { name?: string; message?: string };
    return `${words.browser} ${message || name}`;
  }
  const { status, detail, reason } = error;
  const said = (sentence: string): string => (detail ? `${sentence} (${detail})` : sentence);
  if (reason === "revoked") return said(words.replacedWhy);
  if (reason !== null) return said(words.ended);
  if (status === 0) return words.offline;
  if (status === 401) return said(words.wrongKey);
  if (status === 403) return said(words.forbidden);
  if (status === 404 || status === 405) return said(words.noWhip);
  if (status === 409) return said(words.conflict);
  if (status === 503 || status === 429) return said(words.overloaded);
  if (status >= 400 && status < 500) return said(words.refused);
  return `${words.server} ${detail || `HTTP ${status}`}`;
}
