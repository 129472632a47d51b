/** What a table is, how it is printed, and how its targets are judged. */
import { loadavg } from 'node:os';
import type { Backend } from '../../../src/backend/backend.ts';
import type { Effort, Ratio } from '../measure.ts';
import type { Peers } from './peers.ts';
import type { Probe } from './probe.ts';

export type Cell = string | number | Ratio | undefined;
export type Row = Readonly<Record<string, Cell>>;

export interface Context {
  /** With relaxed SIMD where the engine has it. */
  backend: Backend;
  /** Plain simd128. */
  baseline: Backend;
  /** With 256-bit products, where the engine has them. */
  wide?: Backend;
  probe: Probe;
  peers: Peers;
  effort: Effort;
  quick: boolean;
  /** On two threads, when asked for: onnxruntime-web gets two as well. */
  threaded?: Backend;
  /** Says once why something is not in the table. */
  skip(reason: string): void;
  progress(text: string): void;
}

/** A figure the table is held against: what the column must be at least or at most. */
export interface Target {
  /** 'aim': not a promise, only what we are after. Default 'must'. */
  kind?: 'must' | 'stretch' | 'aim';
  what: string;
  column: string;
  atLeast?: number;
  atMost?: number;
  /** Rows it is about; default all. */
  where?(row: Row): boolean;
}

export interface Table {
  name: string;
  title: string;
  legend: readonly string[];
  targets: readonly Target[];
  rows(context: Context): AsyncGenerator<Row>;
}

export interface Filled {
  table: Table;
  rows: Row[];
  skipped: string[];
  load: string;
}

export async function fill(table: Table, context: Omit<Context, 'skip'>): Promise<Filled> {
  const skipped = new Set<string>();
  const rows: Row[] = [];
  for await (const row of table.rows({ ...context, skip: (reason) => void skipped.add(reason) })) rows.push(row);
  const load = loadavg()
    .map((each) => each.toFixed(1))
    .join(' ');
  return { table, rows, skipped: [...skipped], load };
}

export function print({ table, rows, skipped, load }: Filled): void {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((column) => rows.some((row) => row[column] !== undefined));
  const lines = [columns, ...rows.map((row) => columns.map((column) => format(row[column])))];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  console.log(`\n${table.title}   [load ${load}]`);
  for (const line of lines) console.log(line.map((cell, i) => cell.padStart(widths[i]!)).join('  '));
  for (const line of table.legend) console.log(`  ${line}`);
  for (const target of table.targets) for (const line of judge(target, rows)) console.log(`  ${line}`);
  for (const reason of skipped) console.log(`  skipped: ${reason}`);
}

/** `must ...: met` or `MISSED`, by the medians of the ratios, with the worst row. */
export function judge({ kind = 'must', what, column, atLeast, atMost, where = () => true }: Target, rows: readonly Row[]): string[] {
  const judged = rows.filter((row) => where(row) && row[column] !== undefined && typeof row[column] !== 'string');
  if (judged.length === 0) return [];
  const value = (row: Row) => {
    const cell = row[column] as number | Ratio;
    return typeof cell === 'number' ? cell : cell.median;
  };
  const sorted = judged.toSorted((a, b) => value(a) - value(b));
  const worst = atLeast === undefined ? sorted.at(-1)! : sorted[0]!;
  const met = atLeast === undefined ? value(worst) <= atMost! : value(worst) >= atLeast;
  const count = judged.filter((row) => (atLeast === undefined ? value(row) <= atMost! : value(row) >= atLeast)).length;
  const bound = atLeast === undefined ? `<= ${atMost}` : `>= ${atLeast}`;
  const [label] = Object.values(worst);
  return [
    `${kind}: ${what} ${bound}: ${met ? 'met' : `MISSED in ${judged.length - count} of ${judged.length} rows`}, worst ${value(worst).toFixed(2)} at ${format(label)}`,
  ];
}

/** Numbers with three digits that count; ratios as the median, then that of the best times. */
export function format(cell: Cell): string {
  if (cell === undefined) return '-';
  if (typeof cell === 'string') return cell;
  if (typeof cell === 'object') return `${cell.median.toFixed(2)}/${cell.best.toFixed(2)}`;
  if (cell !== 0 && Math.abs(cell) < 0.01) return cell.toExponential(0);
  return cell >= 100 ? cell.toFixed(0) : cell >= 10 ? cell.toFixed(1) : cell.toFixed(2);
}
