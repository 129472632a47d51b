/** What a table is, how it is printed, and how its targets are judged. */
import { loadavg } from 'node:os';
import type { Ratio } from './measure.ts';

export type Cell = string | number | Ratio | undefined;
export type Row = Readonly<Record<string, Cell>>;

/** What every table's work may use. */
export interface Report {
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

export interface Table<Context> {
  name: string;
  title: string;
  legend: readonly string[];
  targets: readonly Target[];
  rows(context: Context): AsyncGenerator<Row>;
}

export interface Filled {
  table: Pick<Table<never>, 'name' | 'title' | 'legend' | 'targets'>;
  rows: Row[];
  skipped: string[];
  load: string;
}

/** Runs the tables in turn, and hands over each when it is done. */
export async function fillAll<Context extends Report>(
  tables: readonly Table<Context>[],
  context: Omit<Context, keyof Report>,
  done: (filled: Filled) => void,
): Promise<Filled[]> {
  const filled: Filled[] = [];
  for (const table of tables) {
    const progress = (text: string) => void process.stderr.write(`${table.name}: ${text}\n`);
    const skipped = new Set<string>();
    const rows: Row[] = [];
    const report: Report = { progress, skip: (reason) => void skipped.add(reason) };
    for await (const row of table.rows({ ...context, ...report } as Context)) rows.push(row);
    const load = loadavg()
      .map((each) => each.toFixed(1))
      .join(' ');
    const result = { table, rows, skipped: [...skipped], load };
    filled.push(result);
    done(result);
  }
  return filled;
}

/** The tables of `names`, separated by commas; all without. */
export function chooseTables<T extends { name: string }>(tables: readonly T[], names: string | undefined): readonly T[] {
  const wanted = names?.split(',');
  const unknown = wanted?.filter((name) => !tables.some((table) => table.name === name)) ?? [];
  if (unknown.length) throw new Error(`no table ${unknown.join(', ')}; there are ${tables.map((table) => table.name).join(', ')}`);
  return tables.filter(({ name }) => !wanted || wanted.includes(name));
}

/** A table as --json prints it. */
export function plain({ table, rows, skipped, load }: Filled): object {
  return { title: table.title, rows, targets: table.targets.flatMap((target) => judge(target, rows)), skipped, load };
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
