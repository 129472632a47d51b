/**
 * What one core of this engine can do at most with 128-bit vectors: a Wasm module written by hand, whose loops keep twelve
 * independent sums in registers and touch at most a few cache lines; and reads and copies of linear memory.
 */
const ACCUMULATORS = 12;
const LANES = 4;
/** Repetitions of one call, some 50 us: a running Wasm loop is not optimised before it returns. */
const TURNS = 32768;
const EXPORTS = ['mulAdd', 'dot16', 'read', 'copy'] as const;
const RELAXED_EXPORTS = ['relaxedMadd', 'relaxedDot8'] as const;

type Export = (typeof EXPORTS)[number] | (typeof RELAXED_EXPORTS)[number];
type Compute = Exclude<Export, 'read' | 'copy'>;

type Exports = Partial<Record<Export, (...args: number[]) => number>>;

export interface Rate {
  /** One call of some 50 us. */
  call(): void;
  /** Operations of one call, two per multiply-add. */
  operations: number;
}

export class Probe {
  readonly #exports: Exports;

  /** Reads and copies address `memory`. */
  constructor(memory = new WebAssembly.Memory({ initial: 1 })) {
    const instantiate = (bytes: Uint8Array<ArrayBuffer>) =>
      new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports as Exports;
    this.#exports = instantiate(binary(EXPORTS));
    const relaxed = binary(RELAXED_EXPORTS);
    if (WebAssembly.validate(relaxed)) this.#exports = { ...this.#exports, ...instantiate(relaxed) };
  }

  /** undefined where the engine lacks the instruction. */
  rate(name: Compute): Rate | undefined {
    const run = this.#exports[name];
    if (!run) return undefined;
    const [x, y] = name === 'mulAdd' || name === 'relaxedMadd' ? [bits(0.25), bits(0.5)] : [0x01020301, 0x03010201];
    const productsPerLane = { mulAdd: 1, relaxedMadd: 1, dot16: 2, relaxedDot8: 4 }[name];
    return { call: () => void run(TURNS, x, y), operations: 2 * productsPerLane * LANES * ACCUMULATORS * TURNS };
  }

  /** Reads `bytes`, a multiple of 128, in vectors. */
  read(pointer: number, bytes: number): void {
    this.#exports.read!(pointer, bytes, 0);
  }

  /** memory.copy */
  copy(to: number, from: number, bytes: number): void {
    this.#exports.copy!(to, from, bytes);
  }
}

/** The engine's best multiply-adds in f32: by one instruction where it has one, else by two. */
export function peakFloat(probe: Probe, relaxed: boolean): Rate {
  return (relaxed ? probe.rate('relaxedMadd') : undefined) ?? probe.rate('mulAdd')!;
}

function bits(value: number): number {
  return new Int32Array(Float32Array.of(value).buffer)[0]!;
}

// Instructions. Locals of every function: 0-2 i32 parameters, 3 and up vectors: sums first, then x, y and an operand.
const get = (local: number) => [0x20, ...leb(local)];
const set = (local: number) => [0x21, ...leb(local)];
const tee = (local: number) => [0x22, ...leb(local)];
const simd = (opcode: number, ...immediates: number[]) => [0xfd, ...leb(opcode), ...immediates];
const constant = (value: number) => [0x41, ...leb(value)]; // below 64: the signed encoding is the same
const load = (pointer: number, offset: number) => [...get(pointer), ...simd(0x00, 4, ...leb(offset))];
const LOOP = [0x03, 0x40];
const END = 0x0b;
const SUM = 3;
const X = SUM + ACCUMULATORS;
const Y = X + 1;
const OPERAND = Y + 1;
const F32X4_ADD = simd(0xe4);
const F32X4_MUL = simd(0xe6);
const I32X4_ADD = simd(0xae);
const I32X4_DOT_I16X8_S = simd(0xba);
const V128_XOR = simd(0x51);
const RELAXED_MADD = simd(0x105);
const RELAXED_DOT_ADD = simd(0x113);

/** Chained by one instruction: nothing can be moved out of the loop. */
const FUSED = { relaxedMadd: RELAXED_MADD, relaxedDot8: RELAXED_DOT_ADD };
/** A product by the first instruction, a sum by the second. The products must differ, and not be known before the loop. */
const SPLIT = { mulAdd: [F32X4_MUL, F32X4_ADD], dot16: [I32X4_DOT_I16X8_S, I32X4_ADD] } as const;

/** One step of all sums. */
function stepBody(name: Compute): number[] {
  if (name in FUSED)
    return sums(ACCUMULATORS).flatMap((sum) => [...get(X), ...get(Y), ...get(sum), ...FUSED[name as keyof typeof FUSED], ...set(sum)]);
  const [multiply, add] = SPLIT[name as keyof typeof SPLIT];
  return sums(ACCUMULATORS).flatMap((sum, i) => {
    const operand = i % 2 ? get(OPERAND) : [...load(1, 16 * i), ...tee(OPERAND)];
    return [...get(sum), ...operand, ...get(i % 2 ? Y : X), ...multiply, ...add, ...set(sum)];
  });
}

/** (turns, x, y) */
function computeBody(name: Compute): number[] {
  const splat = (parameter: number, local: number) => [...get(parameter), ...simd(0x11), ...set(local)];
  const otherOperands = [...get(1), 0x41, ...leb(256), 0x73, ...set(1)];
  const countDown = [...get(0), ...constant(1), 0x6b, 0x22, 0, 0x0d, 0];
  const loop = [...LOOP, ...stepBody(name), ...otherOperands, ...countDown, END];
  return [...splat(1, X), ...splat(2, Y), ...constant(0), ...set(1), ...loop, ...folded(ACCUMULATORS)];
}

const VECTORS_PER_READ = 8;

/** (pointer, bytes) */
function readBody(): number[] {
  const step = VECTORS_PER_READ * 16;
  const once = sums(VECTORS_PER_READ).flatMap((sum, i) => [...get(sum), ...load(0, 16 * i), ...V128_XOR, ...set(sum)]);
  const advance = [...get(0), 0x41, ...leb(step), 0x6a, ...set(0)];
  const countDown = [...get(1), 0x41, ...leb(step), 0x6b, 0x22, 1, 0x0d, 0];
  return [...LOOP, ...once, ...advance, ...countDown, END, ...folded(VECTORS_PER_READ)];
}

/** (to, from, bytes) */
const COPY_BODY = [...get(0), ...get(1), ...get(2), 0xfc, 0x0a, 0, 0, ...constant(0)];

function sums(count: number): number[] {
  return Array.from({ length: count }, (_, i) => SUM + i);
}

/** An i32 that depends on all sums. */
function folded(count: number): number[] {
  return [...sums(count).flatMap((sum, i) => [...get(sum), ...(i ? V128_XOR : [])]), ...simd(0x1b, 0)];
}

function binary(names: readonly Export[]): Uint8Array<ArrayBuffer> {
  const I32 = 0x7f;
  const V128 = 0x7b;
  const body = (name: Export) => (name === 'read' ? readBody() : name === 'copy' ? COPY_BODY : computeBody(name));
  const code = names.map((name) => sized([1, ACCUMULATORS + 3, V128, ...body(name), END]));
  const exported = names.map((name, i) => [...text(name), 0, i]);
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [[0x60, 3, I32, I32, I32, 1, I32]]),
    ...section(2, [[...text('env'), ...text('memory'), 2, 0, 1]]),
    ...section(
      3,
      names.map(() => [0]),
    ),
    ...section(7, exported),
    ...section(10, code),
  ]);
}

function section(id: number, items: readonly (readonly number[])[]): number[] {
  return [id, ...sized([...leb(items.length), ...items.flat()])];
}

function sized(bytes: readonly number[]): number[] {
  return [...leb(bytes.length), ...bytes];
}

function text(value: string): number[] {
  return sized([...new TextEncoder().encode(value)]);
}

/** Unsigned LEB128. */
function leb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)];
}
