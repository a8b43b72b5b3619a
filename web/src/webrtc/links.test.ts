import { describe, expect, it } from "vitest";
import { iceServers } from "./links";

describe("iceServers", () => {
  it("reads the examples of RFC 9725", () => {
    const header =
      '<stun:stun.example.net>; rel="ice-server", ' +
      '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; ' +
      'credential="myPassword"; credential-type="password", ' +
      "<turns:turn.example.net?transport=tcp>; rel=ice-server";
    expect(iceServers(header)).toEqual([
      { urls: "stun:stun.example.net" },
      { urls: "turn:turn.example.net?transport=udp", username: "user", credential: "myPassword" },
      { urls: "turns:turn.example.net?transport=tcp" },
    ]);
  });
  it("keeps commas, semicolons and quotes of a credential", () => {
    const header = '<turn:t.example>; credential="a,b;c\\"d<e>"; rel="x ice-server"; username="1700:u"';
    expect(iceServers(header)).toEqual([{ urls: "turn:t.example", username: "1700:u", credential: 'a,b;c"d<e>' }]);
  });
  it("passes over other relations, other schemes and noise", () => {
    expect(iceServers(null)).toEqual([]);
    expect(iceServers("")).toEqual([]);
    expect(iceServers("garbage; rel=ice-server")).toEqual([]);
    expect(iceServers('<https://x.example>; rel="ice-server"')).toEqual([]);
    expect(iceServers('<stun:x.example>; rel="preload"')).toEqual([]);
    expect(iceServers('</style.css>; rel=preload, <stun:x.example>; rel="ice-server"')).toHaveLength(1);
  });
  it("is bounded", () => {
    expect(iceServers(Array(50).fill('<stun:x.example>; rel="ice-server"').join(", "))).toHaveLength(8);
  });
});
