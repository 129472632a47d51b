/** The run is on the platform that it claims to be on, and has the backends it should: no more, so that none goes untested. */
import { selectBackend } from '../../src/backend/select.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { deepEqual, equal, ok, type Suite, throwsCode } from '../harness.ts';
import { detectRuntime } from '../platform.ts';

export function platformSuite(t: Suite): void {
  const { platform } = t;
  const names = platform.backends.map(({ name }) => name);
  const kinds = new Set(platform.backends.map(({ kind }) => kind));

  t.test(`the runtime is ${platform.runtime} ${platform.version}${platform.isolated ? '' : ', not isolated'}`, () => {
    const { runtime, version, isolated } = detectRuntime();
    equal(runtime, platform.runtime, 'runtime');
    ok(version.startsWith(platform.version), `version is ${version}, expected ${platform.version}`);
    equal(isolated, platform.isolated, 'isolated');
  });

  for (const { name, kind, create } of platform.backends) {
    t.test(`${name} is what it says`, async () => {
      await using backend = await create();
      equal(backend.name, kind, 'name');
      ok(backend.description, 'the backend has no description');
      deepEqual(backend.rejected, [], 'rejected');
      if (kind === 'wasm') {
        ok(backend.features.has('simd'), 'simd is no feature');
        equal(backend.features.has('relaxed-simd'), name.startsWith('wasm relaxed'), 'relaxed-simd');
        equal(backend.features.has('threads'), name.endsWith('threads'), 'threads');
      }
      const driver = { 'webgpu lavapipe': /llvmpipe/, 'webgpu swiftshader': /swiftshader/i }[name];
      if (driver) ok(driver.test(backend.description), `the adapter is "${backend.description}"`);
      if (driver) ok(backend.features.has('software-adapter'), 'software-adapter is no feature');
    });
  }

  if (kinds.has('wasm') && !names.includes('wasm relaxed')) {
    t.test('relaxed SIMD is refused here, and "auto" takes simd128', async () => {
      await throwsCode(() => createWasmBackend({ variant: 'relaxed' }), 'unsupported');
      await using backend = await createWasmBackend();
      equal(backend.features.has('relaxed-simd'), false, 'relaxed-simd');
    });
  }
  if (kinds.has('wasm'))
    threadTests(
      t,
      names.some((name) => name.endsWith('threads')),
    );
  selectionTests(t, kinds);
}

function threadTests(t: Suite, available: boolean): void {
  const nowhere = new URL('no-such-worker.js', import.meta.url);
  const runsOnOne = async (options: object, reason: RegExp) => {
    const told: string[] = [];
    await using backend = await selectBackend({
      prefer: 'wasm',
      threads: 2,
      ...options,
      onFallback: ({ name, reason }) => void told.push(`${name}: ${reason}`),
    });
    equal(backend.features.has('threads'), false, 'threads');
    equal(told.length, 1, 'number of reasons');
    ok(told[0]!.startsWith('wasm: 2 threads were asked for, but ') && reason.test(told[0]!), `the reason is "${told[0]}"`);
    ok(backend.description.endsWith(`one thread (${told[0]!.slice('wasm: '.length)})`), `the description is "${backend.description}"`);
    using tensor = backend.upload(Float32Array.of(1, 2));
    deepEqual(await backend.read(tensor), Float32Array.of(1, 2), 'what is read');
  };
  if (available) {
    t.test('selectBackend gives the wasm backend the threads that it is asked for', async () => {
      await using backend = await selectBackend({ prefer: 'wasm', threads: 3, onFallback: ({ reason }) => ok(false, reason) });
      equal(backend.features.has('threads'), true, 'threads');
      ok(backend.description.endsWith(', 3 threads'), `the description is "${backend.description}"`);
    });
    t.test('a worker file that cannot be loaded leaves one thread, and the reason', () =>
      runsOnOne({ workerUrl: nowhere }, /could not be started/),
    );
  } else {
    const reason = t.platform.isolated ? /could not be started/ : /not cross-origin isolated/;
    t.test('threads are refused here: the wasm backend runs on one, and says why', () => runsOnOne({}, reason));
  }
  if (t.platform.runtime !== 'node') {
    t.test('256-bit products are refused here: the wasm backend has plain ones, and says why', async () => {
      const told: string[] = [];
      await using backend = await createWasmBackend({ wide: true, onFallback: ({ reason }) => void told.push(reason) });
      equal(backend.features.has('wide-simd'), false, 'wide-simd');
      deepEqual(told, ['wide was asked for, but only Node can set the flag of V8 that it needs'], 'what onFallback was told');
      ok(backend.description.includes(told[0]!), `the description is "${backend.description}"`);
    });
  }
  t.test('a number of threads that is none is refused', async () => {
    for (const threads of [0, -1, 1.5, Number.NaN, 1000, '2' as unknown as number]) {
      await throwsCode(() => createWasmBackend({ threads }), 'invalid-argument', { argument: 'threads' });
      await throwsCode(() => selectBackend({ prefer: 'wasm', threads }), 'invalid-argument', { argument: 'threads' });
    }
  });
}

function selectionTests(t: Suite, kinds: ReadonlySet<string>): void {
  for (const kind of ['webgpu', 'wasm'] as const) {
    if (kinds.has(kind)) {
      t.test(`selectBackend takes ${kind} when it is preferred`, async () => {
        await using backend = await selectBackend({ prefer: [kind, 'reference'] });
        equal(backend.name, kind, 'name');
        deepEqual(backend.rejected, [], 'rejected');
      });
    } else {
      t.test(`selectBackend falls to reference where ${kind} does not work, and says why`, async () => {
        const told: string[] = [];
        await using backend = await selectBackend({
          prefer: [kind, 'reference'],
          onFallback: ({ name, reason }) => void told.push(`${name}: ${reason}`),
        });
        equal(backend.name, 'reference', 'name');
        const [rejection] = backend.rejected;
        equal(rejection?.name, kind, 'the rejected backend');
        ok(rejection.reason.length > 10, `the reason is "${rejection.reason}"`);
        deepEqual(told, [`${kind}: ${rejection.reason}`], 'what onFallback was told');
        await throwsCode(() => selectBackend({ prefer: kind }), 'no-backend', { argument: 'prefer' });
      });
    }
  }
  t.test('selectBackend takes the fastest backend that works here, and never a software GPU by itself', async () => {
    await using backend = await selectBackend();
    const software = backend.rejected.some(({ name, reason }) => name === 'webgpu' && reason.includes('software adapter'));
    if (backend.name === 'webgpu') equal(backend.features.has('software-adapter'), false, 'software-adapter');
    else equal(backend.name, kinds.has('wasm') ? 'wasm' : 'reference', 'name');
    if (kinds.has('webgpu') && backend.name !== 'webgpu') ok(software, `webgpu was rejected for: ${JSON.stringify(backend.rejected)}`);
  });
  t.test('selectBackend refuses a name nobody knows', () =>
    throwsCode(() => selectBackend({ prefer: 'cuda' as 'wasm' }), 'unknown-name').then(() => {}),
  );
}
