/** ICE servers out of Link headers (RFC 9725 §4.6, RFC 8288 §3). */

const MAX_SERVERS = 8;
const SCHEME = /^(stuns?|turns?):[^\s"<>]+$/i;

/** All links of the joined header whose relation is `ice-server`; anything malformed is passed over. */
export function iceServers(header: string | null): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  for (const { target, parameters } of links(header ?? "")) {
    const relations = (parameters.get("rel") ?? "").toLowerCase().split(/\s+/);
    if (!relations.includes("ice-server") || !SCHEME.test(target)) continue;
    const username = parameters.get("username");
    const credential = parameters.get("credential");
    servers.push({
      urls: target,
      ...(username === undefined ? {} : { username }),
      ...(credential === undefined ? {} : { credential }),
    });
    if (servers.length === MAX_SERVERS) break;
  }
  return servers;
}

interface Link {
  readonly target: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** `<target>; name=value; name="quoted, \" value", <next>`. */
function links(header: string): Link[] {
  const found: Link[] = [];
  const target = /\s*,?\s*<([^<>]*)>/y;
  const parameter = /\s*;\s*([\w*-]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?/y;
  let at = 0;
  for (;;) {
    target.lastIndex = at;
    const link = target.exec(header);
    if (!link) return found;
    at = target.lastIndex;
    const parameters = new Map<string, string>();
    for (;;) {
      parameter.lastIndex = at;
      const one = parameter.exec(header);
      if (!one) break;
      at = parameter.lastIndex;
      const name = (one[1] as string).toLowerCase();
      if (!parameters.has(name)) parameters.set(name, one[2]?.replace(/\\(.)/g, "$1") ?? one[3] ?? "");
    }
    found.push({ target: link[1] as string, parameters });
  }
}
