import { afterEach, describe, expect, it, vi } from "vitest";
import { Refused, Signalling, retryAfter } from "./signalling";

interface Sent {
  url: string;
  init: RequestInit & { headers: Headers };
}

function server(status: number, body: string, headers: Record<string, string>): Sent[] {
  const sent: Sent[] = [];
  vi.stubGlobal("fetch", (url: string, init: Sent["init"]) => {
    sent.push({ url, init });
    const answer = new Response(status === 204 ? null : body, { status, headers });
    Object.defineProperty(answer, "url", { value: url });
    return Promise.resolve(answer);
  });
  return sent;
}

const never = new AbortController().signal;
afterEach(() => vi.unstubAllGlobals());

describe("Signalling", () => {
  it("posts the offer with the key and resolves a relative Location", async () => {
    const sent = server(201, "v=0", {
      Location: "session/abc",
      "Content-Type": "application/sdp",
      Link: '<stun:stun.example.net>; rel="ice-server"',
    });
    const answered = await new Signalling("https://h.example/whip/show", "KEY").offer("offer", never);
    expect(answered).toEqual({
      sdp: "v=0",
      session: "https://h.example/whip/session/abc",
      iceServers: [{ urls: "stun:stun.example.net" }],
    });
    const { init } = sent[0] as Sent;
    expect(init.method).toBe("POST");
    expect(init.headers.get("Authorization")).toBe("Bearer KEY");
    expect(init.headers.get("Content-Type")).toBe("application/sdp");
    expect(init.credentials).toBe("omit");
    expect((sent[0] as Sent).url).not.toContain("KEY");
  });
  it("passes the server's sentence on", async () => {
    server(409, '{"detail":"The show has not begun."}', {
      "Content-Type": "application/problem+json",
      "Retry-After": "5",
    });
    const refused = await new Signalling("https://h.example/whep/s").offer("o", never).catch((e: unknown) => e);
    expect(refused).toBeInstanceOf(Refused);
    expect(refused).toMatchObject({ status: 409, detail: "The show has not begun.", retryAfterMs: 5000 });
  });
  it("does not take another success for an answer", async () => {
    server(200, "<html>", { "Content-Type": "text/html" });
    await expect(new Signalling("https://h.example/whep/s").offer("o", never)).rejects.toMatchObject({
      status: 200,
      detail: "",
    });
    server(201, "v=0", {});
    await expect(new Signalling("https://h.example/whep/s").offer("o", never)).rejects.toBeInstanceOf(Refused);
  });
  it("tells an unreachable server from an aborted call", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
    const signalling = new Signalling("https://h.example/whep/s");
    await expect(signalling.offer("o", never)).rejects.toMatchObject({ status: 0 });
    const abort = new AbortController();
    abort.abort();
    await expect(signalling.offer("o", abort.signal)).rejects.toBeInstanceOf(TypeError);
    expect(await signalling.end("https://h.example/whep/session/x")).toMatchObject({ status: 0, reason: null });
  });
  it("ends with keepalive, since the page may be going away", async () => {
    const sent = server(200, "", {});
    await new Signalling("https://h.example/whip", "KEY").end("https://h.example/whip/session/abc");
    expect(sent[0]).toMatchObject({ url: "https://h.example/whip/session/abc", init: { method: "DELETE", keepalive: true } });
  });
  it("hears why the server ended a session, and that one is over", async () => {
    const end = () => new Signalling("https://h.example/whip", "KEY").end("https://h.example/whip/session/abc");
    for (const status of [200, 404]) {
      server(status, "", {});
      expect(await end()).toBeNull();
    }
    server(409, '{"detail":"Another has it.","reason":"revoked"}', { "Content-Type": "application/problem+json" });
    expect(await end()).toMatchObject({ status: 409, detail: "Another has it.", reason: "revoked" });
    server(409, '{"detail":"Another has it.","reason":7}', { "Content-Type": "application/problem+json" });
    expect(await end()).toMatchObject({ status: 409, reason: null });
  });
});

describe("retryAfter", () => {
  it("takes seconds and dates", () => {
    expect(retryAfter("3")).toBe(3000);
    expect(retryAfter("Mon, 23 Nov 2026 10:00:05 GMT", Date.UTC(2026, 10, 23, 10))).toBe(5000);
    expect(retryAfter("Mon, 23 Nov 2026 09:00:05 GMT", Date.UTC(2026, 10, 23, 10))).toBe(0);
    expect(retryAfter(null)).toBeNull();
    expect(retryAfter("soon")).toBeNull();
  });
});
