import { describe, expect, it } from "vitest";
import { commandOf } from "./keys";
import { chooseText, words } from "./text";

describe("chooseText", () => {
  const text = { en: "hat", de: "Hut", "pt-BR": "chapéu" };
  it("takes the exact tag, its language, a sister region, English, then any", () => {
    expect(chooseText(text, ["de"])).toBe("Hut");
    expect(chooseText(text, ["de-AT"])).toBe("Hut");
    expect(chooseText(text, ["pt-PT"])).toBe("chapéu");
    expect(chooseText(text, ["fr", "de"])).toBe("Hut");
    expect(chooseText(text, ["fr"])).toBe("hat");
    expect(chooseText({ ja: "帽子" }, ["fr"])).toBe("帽子");
    expect(chooseText("plain", ["fr"])).toBe("plain");
    expect(chooseText({}, ["fr"])).toBe("");
    expect(chooseText(undefined, ["fr"])).toBe("");
  });
});

describe("words", () => {
  it("follows the first language that the player speaks", () => {
    expect(words(["fr", "de-CH", "en"]).play).toBe("Abspielen");
    expect(words(["en-GB", "de"]).play).toBe("Play");
    expect(words(["fr"]).play).toBe("Play");
  });
});

describe("commandOf", () => {
  const press = (key: string, extra = {}) => ({ key, ctrlKey: false, metaKey: false, altKey: false, ...extra });
  it("leaves space to a focused button and every key to a text field", () => {
    expect(commandOf(press(" "), null)).toBe("toggle");
    expect(commandOf(press(" "), { tagName: "BUTTON" })).toBeNull();
    expect(commandOf(press("k"), { tagName: "BUTTON" })).toBe("toggle");
    expect(commandOf(press("m"), { tagName: "INPUT" })).toBeNull();
  });
  it("leaves browser shortcuts alone", () => {
    expect(commandOf(press("f", { ctrlKey: true }), null)).toBeNull();
    expect(commandOf(press("M"), null)).toBe("mute");
  });
});
