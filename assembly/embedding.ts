import { copy_rows } from './compact-kv';

/** y[i] = table[ids[i]]. table [V, D], ids [n], y [n, D]. */
export function embedding(table: usize, ids: usize, y: usize, n: i32, D: i32): void {
  copy_rows(table, y, ids, n, D << 2);
}
