/** Counts what reaches WebGPU while some work runs, whoever calls it. */

export interface Counts {
  dispatches: number;
  passes: number;
  submits: number;
  /** Of queue.writeBuffer: params, uploads. */
  writes: number;
}

// biome-ignore lint/suspicious/noExplicitAny: methods of any signature
type Method = (...args: any[]) => unknown;

/** Puts `wrap(method)` in a method's place until disposed. */
export function replaced(owner: object, name: string, wrap: (method: Method) => Method): Disposable {
  const holder = owner as Record<string, Method>;
  const original = holder[name]!;
  holder[name] = wrap(original);
  return {
    [Symbol.dispose]() {
      holder[name] = original;
    },
  };
}

export async function counting(work: () => unknown): Promise<Counts> {
  const counts = { dispatches: 0, passes: 0, submits: 0, writes: 0 };
  const count = (owner: object, method: string, key: keyof Counts) =>
    replaced(
      owner,
      method,
      (original) =>
        function (this: unknown, ...args: unknown[]) {
          counts[key]++;
          return original.apply(this, args);
        },
    );
  using _dispatches = count(GPUComputePassEncoder.prototype, 'dispatchWorkgroups', 'dispatches');
  using _passes = count(GPUCommandEncoder.prototype, 'beginComputePass', 'passes');
  using _submits = count(GPUQueue.prototype, 'submit', 'submits');
  using _writes = count(GPUQueue.prototype, 'writeBuffer', 'writes');
  await work();
  return counts;
}
