/** How long ops take on the device: a pass of its own for each op, with a timestamp at both ends. */
import { COPY_DST, COPY_SRC, MAP_READ } from './buffers.ts';

const QUERY_RESOLVE = 0x200;

/** Told the milliseconds of an op when the device is done with it; never when it is lost before. */
export type OnTime = (milliseconds: number) => void;

/** The timestamps of one submit. */
export class Timestamps {
  readonly #device: GPUDevice;
  readonly #queries: GPUQuerySet;
  readonly #told: OnTime[] = [];

  constructor(device: GPUDevice, mostOps: number) {
    this.#device = device;
    this.#queries = device.createQuerySet({ type: 'timestamp', count: 2 * mostOps });
  }

  /** How to begin the pass of an op. */
  pass(onTime: OnTime): GPUComputePassDescriptor {
    const at = 2 * this.#told.push(onTime) - 2;
    return { timestampWrites: { querySet: this.#queries, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 } };
  }

  /** To be called behind the last pass. Call the result after the submit. */
  resolve(encoder: GPUCommandEncoder): () => void {
    const count = 2 * this.#told.length;
    const size = 8 * count;
    const resolved = this.#device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
    const staging = this.#device.createBuffer({ size, usage: MAP_READ | COPY_DST });
    encoder.resolveQuerySet(this.#queries, 0, count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    return () => {
      const free = () => {
        for (const made of [this.#queries, resolved, staging]) made.destroy();
      };
      staging
        .mapAsync(MAP_READ)
        .then(() => {
          const times = new BigUint64Array(staging.getMappedRange().slice(0));
          for (const [i, onTime] of this.#told.entries()) onTime(Math.max(0, Number(times[2 * i + 1]! - times[2 * i]!) / 1e6));
        })
        .then(free, free);
    };
  }
}
