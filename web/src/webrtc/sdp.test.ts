import { describe, expect, it } from "vitest";
import { withOpus, withoutRequests, withStartBitrate } from "./sdp";

const sdp = (lines: string[]) => `${lines.join("\r\n")}\r\n`;

describe("withOpus", () => {
  it("adds to the fmtp of Opus and to no other", () => {
    const before = ["v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111 63", "a=rtpmap:111 opus/48000/2",
      "a=fmtp:111 minptime=10;useinbandfec=1", "a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111",
      "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1"];
    const after = before.map((line) => (line.startsWith("a=fmtp:111") ? `${line};stereo=1` : line));
    expect(withOpus(sdp(before), { stereo: 1 })).toBe(sdp(after));
  });
  it("keeps what is said already, and writes the line where none is", () => {
    const said = sdp(["m=audio 9 X 109", "a=rtpmap:109 OPUS/48000/2", "a=fmtp:109 stereo=0; usedtx=1"]);
    expect(withOpus(said, { stereo: 1, maxaveragebitrate: 128000 })).toContain(
      "a=fmtp:109 stereo=0;usedtx=1;maxaveragebitrate=128000\r\n",
    );
    const bare = sdp(["m=audio 9 X 109", "a=rtpmap:109 opus/48000/2", "m=video 9 X 96", "a=rtpmap:96 VP8/90000"]);
    expect(withOpus(bare, { stereo: 1 })).toBe(
      sdp(["m=audio 9 X 109", "a=rtpmap:109 opus/48000/2", "a=fmtp:109 stereo=1", "m=video 9 X 96", "a=rtpmap:96 VP8/90000"]),
    );
  });
  it("leaves a description without Opus as it is", () => {
    const text = sdp(["v=0", "m=audio 9 X 0", "a=rtpmap:0 PCMU/8000"]);
    expect(withOpus(text, { stereo: 1 })).toBe(text);
  });
});

describe("withoutRequests", () => {
  it("takes away NACK where every packet is told of, in that section alone", () => {
    const before = ["v=0", "m=video 9 X 96 97", "a=rtcp-fb:96 transport-cc", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli",
      "a=rtcp-fb:97 nack", "m=video 9 X 96", "a=rtcp-fb:96 nack"];
    const after = before.filter((_, index) => index !== 3);
    expect(withoutRequests(sdp(before))).toBe(sdp(after));
  });
});

describe("withStartBitrate", () => {
  it("is a parameter of the picture's codecs, not of their helpers", () => {
    const before = ["m=audio 9 X 111", "a=rtpmap:111 opus/48000/2", "m=video 9 X 96 97", "a=rtpmap:96 H264/90000",
      "a=fmtp:96 packetization-mode=1", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96"];
    const after = before.map((line) => (line.startsWith("a=fmtp:96") ? `${line};x-google-start-bitrate=1500` : line));
    expect(withStartBitrate(sdp(before), 1500)).toBe(sdp(after));
  });
});
