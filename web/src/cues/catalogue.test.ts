import { afterEach, expect, test, vi } from "vitest";
import { Catalogue, formatPrice, readProducts } from "./catalogue";

const SRC = "https://live.example/live/shop/index.m3u8";

afterEach(() => vi.unstubAllGlobals());

test("prices are minor units of their currency", () => {
  expect(formatPrice({ amount: 1999, currency: "EUR" }, ["en"])).toBe("€19.99");
  expect(formatPrice({ amount: 1999, currency: "JPY" }, ["en"])).toBe("¥1,999");
  expect(formatPrice({ amount: "1", currency: "EUR" }, ["en"])).toBeUndefined();
  expect(formatPrice({ amount: 1, currency: "no" }, ["en"])).toBeUndefined();
  expect(formatPrice(null, ["en"])).toBeUndefined();
});

test("what is no product is left out", () => {
  const json = { products: [{ sku: "A", title: { en: "Bag" }, image: "/a.png" }, { title: "no sku" }, null] };
  expect(readProducts(json, SRC, ["en"])).toEqual([
    ["A", { title: { en: "Bag" }, image: "https://live.example/a.png" }],
  ]);
  expect(readProducts("nonsense", SRC, ["en"])).toEqual([]);
});

test("a SKU is asked for once, and a failure harms nothing", async () => {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (url: URL) => {
    asked.push(url.search);
    if (asked.length > 1) throw new TypeError("offline");
    return new Response(JSON.stringify({ products: [{ sku: "A", title: "Bag" }] }));
  });
  const changed = vi.fn();
  const catalogue = new Catalogue(SRC, ["en"], changed);
  await catalogue.want(["A", "A"]);
  await catalogue.want(["A"]);
  await catalogue.want(["B"]);
  expect(asked).toEqual(["?sku=A", "?sku=B"]);
  expect(catalogue.get("A")).toEqual({ title: "Bag" });
  expect(catalogue.get("B")).toBeUndefined();
  expect(changed).toHaveBeenCalledOnce();
});
