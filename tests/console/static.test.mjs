// SPDX-License-Identifier: BSD-3-Clause
// What can be said of the page without a browser.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {createHash, randomBytes} from 'node:crypto';
import {readFileSync, readdirSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {test} from 'node:test';
import {gzipSync} from 'node:zlib';
import {OTACTL, ROOT} from './broker.mjs';

const FOLDER = join(ROOT, 'console');
const LIMIT = 100 * 1024;

function filesIn(folder) {
    return readdirSync(folder).flatMap((name) => {
        const path = join(folder, name);
        return statSync(path).isDirectory() ? filesIn(path) : [path];
    });
}

const files = filesIn(FOLDER);
const scripts = files.filter((path) => path.endsWith('.js'));
const sources = scripts
    .filter((path) => !path.includes('/strings/'))
    .map((path) => readFileSync(path, 'utf8'));
// As text: for Node 18 a .js beside no package.json isn't a module. These import nothing.
const load = (name) =>
    import(
        `data:text/javascript;base64,${readFileSync(join(FOLDER, 'js', name)).toString('base64')}`
    );

test('it is under 100 KB, gzipped, in all', () => {
    const sum = files.reduce((all, path) => all + gzipSync(readFileSync(path)).length, 0);
    assert.ok(sum < LIMIT, `${sum} bytes`);
});

test('no markup is made of strings, and nothing is evaluated', () => {
    const forbidden =
        /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment|DOMParser|setHTML/;
    scripts.forEach((path) => assert.doesNotMatch(readFileSync(path, 'utf8'), forbidden, path));
    const html = readFileSync(join(FOLDER, 'index.html'), 'utf8');
    assert.doesNotMatch(html, /<script(?![^>]*src=)|\sstyle=|\son\w+=|https?:/);
});

test('elements are made in one place', () => {
    const makers = scripts.filter((path) =>
        /createElement|setAttributeNS/.test(readFileSync(path, 'utf8')),
    );
    assert.deepEqual(
        makers.map((path) => path.slice(FOLDER.length)),
        ['/js/dom.js'],
    );
});

test('what the roles may is what the command table says', async () => {
    const {ADMIN, OPERATOR, SECRETS} = await load('session.js');
    const rows = JSON.parse(execFileSync(OTACTL, ['--list-commands', '--json'])).filter(
        (row) => row.command,
    );
    // otactl has several verbs for one command
    const of = (role) =>
        [...new Set(rows.filter((row) => row.role === role).map((row) => row.command))].sort();
    assert.deepEqual([...ADMIN].sort(), of('admin'));
    assert.deepEqual([...OPERATOR].sort(), of('operator'));
    const reading = rows
        .filter((row) => row.role !== 'viewer' && !row.writes)
        .map((row) => row.command);
    assert.deepEqual(reading, SECRETS); // session.js: changes()
});

test('every word is in the table, and every word of the table is used', async () => {
    const {default: table} = await load('strings/en.js');
    const text = sources.join('\n');
    const quoted = new Set([...text.matchAll(/'([a-z_]+(?:\.[a-z_]+)*)'/g)].map(([, key]) => key));
    const made = [...text.matchAll(/\bt\(\s*`([^`]*)`/g)].map(
        ([, key]) =>
            new RegExp(`^${key.replace(/\./g, '\\.').replace(/\$\{[^}]*\}/g, '[a-z_.]+')}$`),
    );
    const groups = [...text.matchAll(/\bword\(\s*'([^']+)'/g)].map(([, group]) => `${group}.`);
    const asked = [...text.matchAll(/\btx?\(\s*'([^']+)'/g)].map(([, key]) => key);
    assert.deepEqual(
        asked.filter((key) => !(key in table) && key !== 'key'),
        [],
        'missing',
    );
    const unused = Object.keys(table).filter(
        (key) =>
            !quoted.has(key) &&
            !made.some((pattern) => pattern.test(key)) &&
            !groups.some((group) => key.startsWith(group)),
    );
    assert.deepEqual(unused, [], 'unused');
});

test("the statuses are the seed's words", async () => {
    const {default: table} = await load('strings/en.js');
    const words = Object.keys(table)
        .filter((key) => key.startsWith('status.') && !/filter|of_batch/.test(key))
        .map((key) => table[key]);
    assert.deepEqual(words, [
        'device offline',
        'task waiting',
        'message successfully sent',
        'downloading',
        'downloaded',
        'upgrading',
        'upgrade failed',
        'upgraded successfully',
        'cancelled',
    ]);
});

test('SHA-256 without SubtleCrypto, in pieces of any size', async () => {
    const {Sha256} = await load('sha256.js');
    for (const size of [0, 1, 55, 56, 63, 64, 65, 127, 128, 1000, 300001]) {
        const bytes = randomBytes(size);
        const hash = new Sha256();
        for (let at = 0, step = 1; at < size; at += step, step = (step * 7) % 5003 || 1) {
            hash.update(new Uint8Array(bytes.subarray(at, at + step)));
        }
        assert.equal(hash.hex(), createHash('sha256').update(bytes).digest('hex'), `${size} bytes`);
    }
});

test("a rollout's defaults fit its fleet", async () => {
    const {brakeAfter, requestOf, stagesOf, targetOf} = await load('rollout.js');
    assert.deepEqual(stagesOf('careful', 3), []);
    for (const total of [6, 100, 2000, 1000000]) {
        const stages = stagesOf('careful', total);
        assert.deepEqual(stages[stages.length - 1], {percent: 100});
        const sizes = stages.map(({count, percent}) => count ?? Math.ceil((total * percent) / 100));
        assert.deepEqual(
            sizes,
            [...sizes].sort((a, b) => a - b),
            `each of ${total} is larger than the one before`,
        );
        assert.ok(sizes[0] <= Math.max(20, total / 20));
    }
    assert.deepEqual([brakeAfter(5), brakeAfter(80), brakeAfter(100000)], [2, 8, 20]);
    assert.deepEqual(targetOf({which: 'all', versions: [], tags: [], online: ''}), {all: true});
    assert.deepEqual(targetOf({which: 'versions', versions: ['1'], tags: ['a'], online: 'no'}), {
        fromVersions: ['1'],
        tags: ['a'],
        online: false,
    });
    const least = {
        version: '2',
        which: 'all',
        versions: [],
        tags: [],
        online: '',
        stages: [],
        gate: 'confirmed',
        mode: 'snapshot',
    };
    assert.deepEqual(requestOf('p', least), {product: 'p', version: '2', target: {all: true}});
    assert.equal(
        requestOf('p', {...least, mode: 'continuous', stages: [{percent: 5}, {percent: 100}]})
            .stages,
        undefined,
    );
});
