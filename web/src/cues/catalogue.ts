/** What the shop's catalogue says of the products that cues name; each SKU is asked for once. */
import type { Text } from "./model";

export interface Product {
  readonly title?: Text;
  /** As it is shown, currency included. */
  readonly price?: string;
  readonly image?: string;
}

const MAX_SKUS_A_REQUEST = 50;
const MAX_KNOWN = 2000;

export class Catalogue {
  readonly #products = new Map<string, Product>();
  readonly #asked = new Set<string>();
  readonly #abort = new AbortController();

  constructor(
    /** Absolute address of the multivariant playlist; `products.json` lies beside it. */
    private readonly src: string,
    private readonly languages: readonly string[],
    private readonly changed: () => void,
  ) {}

  get(sku: string): Product | undefined {
    return this.#products.get(sku);
  }

  stop(): void {
    this.#abort.abort();
  }

  /** Asks for those that were never asked for. A failure is no matter: the cue's own label is shown. */
  async want(skus: Iterable<string>): Promise<void> {
    if (this.#asked.size > MAX_KNOWN) {
      this.#asked.clear();
      this.#products.clear();
    }
    const missing = [...new Set(skus)].filter((sku) => !this.#asked.has(sku)).slice(0, MAX_SKUS_A_REQUEST);
    if (missing.length === 0) return;
    for (const sku of missing) this.#asked.add(sku);
    const url = new URL("products.json", this.src);
    for (const sku of missing) url.searchParams.append("sku", sku);
    try {
      const answer = await fetch(url, { signal: this.#abort.signal, credentials: "omit" });
      if (!answer.ok) return;
      for (const [sku, product] of readProducts(await answer.json(), this.src, this.languages)) {
        this.#products.set(sku, product);
      }
      this.changed();
    } catch {
      // Offline, aborted, or no JSON.
    }
  }
}

export function readProducts(
  json: unknown,
  base: string,
  languages: readonly string[],
): [string, Product][] {
  const listed = (json as { products?: unknown } | null)?.products;
  if (!Array.isArray(listed)) return [];
  const found: [string, Product][] = [];
  for (const entry of listed as Record<string, unknown>[]) {
    if (typeof entry?.sku !== "string") continue;
    const price = formatPrice(entry.price, languages);
    const image = typeof entry.image === "string" ? new URL(entry.image, base).href : undefined;
    found.push([
      entry.sku,
      { title: entry.title as Text, ...(price && { price }), ...(image && { image }) },
    ]);
  }
  return found;
}

/** `{amount, currency}` in minor units of ISO 4217, as people write it. */
export function formatPrice(price: unknown, languages: readonly string[]): string | undefined {
  const { amount, currency } = (price ?? {}) as { amount?: unknown; currency?: unknown };
  if (typeof amount !== "number" || typeof currency !== "string") return undefined;
  try {
    const format = new Intl.NumberFormat([...languages], { style: "currency", currency });
    return format.format(amount / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
  } catch {
    return undefined;
  }
}
