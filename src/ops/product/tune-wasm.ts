/** Picks the tile of the matrix products by timing both. */
import { BACKEND, type Backend } from '../../backend/backend.ts';
import { checkFields } from '../../backend/fields.ts';
import type { TileRows } from '../../backend/wasm/binary.ts';
import { wasmDriverOf } from '../../backend/wasm/driver.ts';
import { race } from '../../backend/wasm/race.ts';

/** More than the least only while six rows seem slower: a neighbour on the core, or code not yet optimised, can make them so. */
const ROUNDS = { least: 6, most: 24 };
/** Six rows must be this much faster: where they lose, they take twice the time. */
const WORTH = 1.03;

export interface WasmTuning {
  /** Rows of a tile that products take from now on. */
  readonly tileRows: TileRows;
  /** Why. */
  readonly reason: string;
}

export const TUNE_WASM_FIELDS = { backend: BACKEND };

/**
 * Times the tiles of four and of six rows on this machine, 12 to 300 ms, and lets the backend take the faster one. Without it the
 * backend has the one that was faster in engines like this one. Results are the same to the bit. @throws `wrong-backend`, `disposed`.
 */
export async function tuneWasm(backend: Backend): Promise<WasmTuning> {
  checkFields('tuneWasm', { backend }, TUNE_WASM_FIELDS);
  const driver = wasmDriverOf('tuneWasm', backend);
  const { kernels, wide } = driver.binary;
  if (wide) return { tileRows: 6, reason: 'products of 256-bit vectors have tiles of 6 rows only' };
  const runners = [
    { kernels, group: 4 },
    { kernels, group: 6 },
  ] as const;
  const sixWin = ([four, six]: readonly number[]) => six! > four! * WORTH;
  const rates = await race(driver.linearMemory(), runners, ROUNDS, sixWin);
  const tileRows = sixWin(rates) ? 6 : 4;
  driver.takeTile(tileRows);
  return { tileRows, reason: `tiles of 6 rows take ${(rates[0]! / rates[1]!).toFixed(2)} of the time of those of 4` };
}
