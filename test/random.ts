/** Seeded random numbers (mulberry32), the same in every runtime. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in [0, 1). */
  unit(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer in [0, end). */
  below(end: number): number {
    return Math.floor(this.unit() * end);
  }

  /** Roughly normal (a sum of four uniforms), mean 0, standard deviation `deviation`; never beyond 3.5 deviations. */
  normal(length: number, deviation = 1, mean = 0): Float32Array<ArrayBuffer> {
    const scale = deviation * Math.sqrt(3);
    return Float32Array.from({ length }, () => mean + scale * (this.unit() + this.unit() + this.unit() + this.unit() - 2));
  }

  /** `length` strictly ascending integers with gaps of 1 to `gap`, from `start`. */
  ascending(length: number, gap = 3, start = 0): Uint32Array<ArrayBuffer> {
    let next = start;
    return Uint32Array.from({ length }, () => {
      const value = next;
      next += 1 + this.below(gap);
      return value;
    });
  }

  /** 0..length-1 in random order. */
  permutation(length: number): Uint32Array<ArrayBuffer> {
    const order = Uint32Array.from({ length }, (_, i) => i);
    for (let i = length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }
}

/** Row lists at which loops over lists break. */
export function rowLists(T: number): Record<string, Uint32Array<ArrayBuffer>> {
  const all = Uint32Array.from({ length: T }, (_, i) => i);
  if (T === 0) return { none: all };
  return {
    none: new Uint32Array(0),
    all,
    first: all.slice(0, 1),
    last: all.slice(T - 1),
    alternating: all.filter((row) => row % 2 === 1),
    'one run': all.slice(Math.floor(T / 4), Math.ceil((3 * T) / 4)),
  };
}
