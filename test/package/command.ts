/** Commands as users run them. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fail, Skip } from './project.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** The environment without what `npm test` adds for the project it runs in, which would mislead the npm of another one. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const misleading = /^(npm_package_|npm_lifecycle_|npm_config_(local_prefix|prefix|global_prefix|user_agent)$|npm_command$|INIT_CWD$)/;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !misleading.test(name)));
  return { ...env, NO_COLOR: '1', npm_config_update_notifier: 'false' };
}

/** Runs a command to its end and returns what it printed; throws with its last words when it fails. */
export function run(command: string, args: readonly string[], cwd: string, environment = {}): { stdout: string; stderr: string } {
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, {
    cwd,
    env: { ...cleanEnvironment(), ...environment },
    encoding: 'utf8',
    timeout: 10 * 60_000, // against hangs
  });
  if (error || status !== 0) {
    const reason = error?.message ?? `status ${status ?? signal}`;
    const words = `${stdout}${stderr}`.trim();
    const excerpt = words.length > 1800 ? `${words.slice(0, 900)}\n...\n${words.slice(-900)}` : words;
    fail(`${path.basename(command)} ${args.join(' ')}: ${reason}\n${excerpt}`);
  }
  return { stdout, stderr };
}

/** An interpreter of that major version: an alias package in node_modules, this process, or what the machine has. */
export function findNode(major: number): string {
  const inPath = (process.env.PATH ?? '').split(path.delimiter).map((folder) => path.join(folder, 'node'));
  const candidates = [path.join(ROOT, `node_modules/node${major}/bin/node`), process.execPath, ...inPath];
  for (const candidate of candidates.filter((file) => existsSync(file))) {
    const { stdout } = spawnSync(candidate, ['--version'], { encoding: 'utf8' });
    if (stdout?.startsWith(`v${major}.`)) return candidate;
  }
  throw new Skip(`there is no Node ${major} on this machine`);
}

/** Deno of node_modules. */
export function findDeno(): string {
  const deno = path.join(ROOT, 'node_modules/.bin/deno');
  if (!existsSync(deno)) throw new Skip('there is no deno in node_modules');
  return deno;
}
