/** What browsers leave no API for: parameters of Opus in a session description. */

/**
 * Adds `name=value` to the fmtp of every Opus payload type (RFC 7587 §6.1), unless it is there.
 * `stereo=1` in what we say: send us two channels; in what the other side says: it takes two.
 */
export function withOpus(sdp: string, parameters: Readonly<Record<string, string | number>>): string {
  const eol = sdp.includes("\r\n") ? "\r\n" : "\n";
  let types: string[] = [];
  let done = new Set<string>();
  const lines: string[] = [];
  const flush = (): void => {
    for (const type of types) if (!done.has(type)) lines.push(`a=fmtp:${type} ${joined(new Map())}`);
    types = [];
    done = new Set();
  };
  const joined = (own: Map<string, string>): string => {
    for (const [name, value] of Object.entries(parameters)) if (!own.has(name)) own.set(name, String(value));
    return [...own].map(([name, value]) => (value === "" ? name : `${name}=${value}`)).join(";");
  };
  const all = sdp.split(/\r?\n/);
  if (all.at(-1) === "") all.pop();
  for (const line of all) {
    if (line.startsWith("m=")) flush();
    const map = /^a=rtpmap:(\d+) opus\/48000/i.exec(line);
    if (map) types.push(map[1] as string);
    const fmtp = /^a=fmtp:(\d+) (.*)$/.exec(line);
    if (fmtp && types.includes(fmtp[1] as string)) {
      const own = new Map<string, string>();
      for (const part of (fmtp[2] as string).split(";")) {
        const [name = "", value = ""] = part.trim().split(/=(.*)/s);
        if (name) own.set(name, value);
      }
      done.add(fmtp[1] as string);
      lines.push(`a=fmtp:${fmtp[1] as string} ${joined(own)}`);
      continue;
    }
    lines.push(line);
  }
  flush();
  return lines.join(eol) + eol;
}
