/** What browsers leave no API for: format parameters in a session description. */

export type Parameters = Readonly<Record<string, string | number>>;

/**
 * Parameters of every Opus payload type (RFC 7587 §6.1). `stereo=1` in what we say: send us two
 * channels; in what the other side says: it takes two.
 */
export function withOpus(sdp: string, parameters: Parameters): string {
  return withFormat(sdp, /^opus\/48000/i, parameters);
}

/** Where Chromium's bandwidth estimate begins, kbit/s: its own 300 would show mush for seconds. */
export function withStartBitrate(sdp: string, kbps: number): string {
  return withFormat(sdp, /^(h264|vp8|vp9|av1)\/90000/i, { "x-google-start-bitrate": kbps });
}

/**
 * Without requests for lost packets, where the receiver tells of every packet anyway: a sender that
 * goes by that feedback sends again what is missing.
 */
export function withoutRequests(sdp: string): string {
  const eol = sdp.includes("\r\n") ? "\r\n" : "\n";
  const sections = sdp.split(/\r?\n(?=m=)/).map((section) => {
    const lines = section.split(/\r?\n/);
    const told = new Set(lines.map((line) => /^a=rtcp-fb:(\S+) transport-cc$/.exec(line)?.[1]));
    const asks = (line: string): boolean => {
      const type = /^a=rtcp-fb:(\S+) nack$/.exec(line)?.[1];
      return type !== undefined && told.has(type);
    };
    return lines.filter((line) => !asks(line)).join(eol);
  });
  return sections.join(eol);
}

/** Adds `name=value` to the fmtp of the payload types whose rtpmap says `codec`, unless it is there. */
function withFormat(sdp: string, codec: RegExp, parameters: Parameters): string {
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
    const map = /^a=rtpmap:(\d+) (.*)$/.exec(line);
    if (map && codec.test(map[2] as string)) types.push(map[1] as string);
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
