// SPDX-License-Identifier: BSD-3-Clause
// A real broker with the plugin and its console, simulated devices, and a client of the control API
// for what a test prepares. Nothing here sleeps for luck.
//
//   OTA_BUILD       the build to test (default: build/)
//   OTA_CONSOLE     serve the page from this folder instead of the library (while developing)
//   OTA_MOSQUITTO   another broker's binary
import {execFileSync, spawn} from 'node:child_process';
import {createHash, generateKeyPairSync, sign} from 'node:crypto';
import {chmodSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:net';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const BUILD = process.env.OTA_BUILD ?? join(ROOT, 'build');
export const OTACTL = join(BUILD, 'cli', 'otactl');
const OTASIM = join(BUILD, 'sim', 'otasim');
const MOSQUITTO = process.env.OTA_MOSQUITTO ?? 'mosquitto';
const PATIENCE_MS = 20000;
const PIECE = 64 * 1024;

export const USERS = {
    admin: 'correct horse',
    op: 'battery staple',
    viewer: 'just looking',
    nobody: 'no role',
};

// Below the kernel's range for outgoing connections, so that none of them takes a port while its
// broker is restarted; below that of the integration tests, too. Other processes begin elsewhere.
const PORTS = {first: 14000, count: 6000};
let nextPort = (process.pid * 37) % PORTS.count;

function isFree(port) {
    return new Promise((resolve) => {
        const server = createServer();
        server.once('error', () => resolve(false));
        server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
}

async function freePort() {
    for (;;) {
        nextPort = (nextPort + 1) % PORTS.count;
        if (await isFree(PORTS.first + nextPort)) {
            return PORTS.first + nextPort;
        }
    }
}

// Asks until it gets something truthy.
export async function until(ask, what) {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
        const answer = await ask();
        if (answer) {
            return answer;
        }
        if (Date.now() > end) {
            throw new Error(`never: ${what}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 40));
    }
}

export class Broker {
    #process = null;
    #sims = [];
    #log = '';

    static async start(options = {}) {
        const broker = new Broker();
        broker.folder = mkdtempSync(join(tmpdir(), 'ota-console-'));
        [broker.port, broker.httpPort, broker.consolePort] = [
            await freePort(),
            await freePort(),
            await freePort(),
        ];
        broker.url = `http://127.0.0.1:${broker.consolePort}/`;
        const {publicKey, privateKey} = generateKeyPairSync('ed25519');
        broker.key = privateKey; // firmware may be signed, and need not be
        writeFileSync(
            join(broker.folder, 'key.pub'),
            publicKey.export({type: 'spki', format: 'pem'}),
        );
        broker.#writeFiles(options);
        await broker.run();
        return broker;
    }

    #writeFiles(options) {
        const passwords = join(this.folder, 'passwords');
        writeFileSync(
            passwords,
            Object.entries(USERS)
                .map(([name, word]) => `${name}:${word}\n`)
                .join(''),
            {mode: 0o600},
        );
        execFileSync('mosquitto_passwd', ['-U', passwords], {stdio: 'ignore'});
        chmodSync(passwords, 0o600);
        const plugin = {
            db_path: join(this.folder, 'ota.db'),
            admins: 'admin',
            operators: 'op',
            viewers: 'viewer',
            acl_fallback: 'allow',
            download_listen: `127.0.0.1:${this.httpPort}`,
            download_url: `http://127.0.0.1:${this.httpPort}`,
            console_listen: `127.0.0.1:${this.consolePort}`,
            password_file: passwords,
            signing_keys: join(this.folder, 'key.pub'),
            ...options,
            ...(process.env.OTA_CONSOLE && {console_dir: process.env.OTA_CONSOLE}),
        };
        const lines = [
            'allow_anonymous true',
            'per_listener_settings false',
            'set_tcp_nodelay true',
            ...(process.getuid() === 0 ? ['user root'] : []),
            `plugin ${join(BUILD, 'plugin', 'mosquitto_ota.so')}`,
            ...Object.entries(plugin).map(([key, value]) => `plugin_opt_${key} ${value}`),
            'log_dest stderr',
            'log_type all',
            'log_timestamp false',
            `listener ${this.port} 127.0.0.1`,
        ];
        writeFileSync(join(this.folder, 'mosquitto.conf'), `${lines.join('\n')}\n`);
    }

    // Also again, after kill(): a restart on the same files.
    async run() {
        this.#log = '';
        const child = spawn(MOSQUITTO, ['-c', join(this.folder, 'mosquitto.conf')], {
            stdio: ['ignore', 'ignore', 'pipe'],
        });
        this.#process = child;
        child.stderr.on('data', (text) => {
            this.#log = (this.#log + text).slice(-20000);
        });
        await until(async () => {
            if (child.exitCode !== null) {
                throw new Error(`the broker ended\n${this.#log}`);
            }
            return fetch(`${this.url}healthz`).then(
                (answer) => answer.ok,
                () => false,
            );
        }, 'a healthy console');
    }

    #end(child, signal) {
        return new Promise((resolve) => {
            if (child === null || child.exitCode !== null || child.signalCode !== null) {
                resolve();
                return;
            }
            child.once('exit', resolve);
            child.kill(signal);
        });
    }

    async kill() {
        await this.#end(this.#process, 'SIGKILL');
    }

    async quit() {
        await this.#end(this.#process, 'SIGTERM');
    }

    async stop() {
        await Promise.all(this.#sims.map((sim) => this.#end(sim, 'SIGTERM')));
        await this.quit();
        rmSync(this.folder, {recursive: true, force: true});
    }

    // Simulated devices; waits until the service knows that all are there.
    async devices(product, {device, count = 1, version = '0.0.1'}, ...more) {
        const before = await this.#online(product);
        const sim = spawn(
            OTASIM,
            [
                '-h',
                '127.0.0.1',
                '-p',
                String(this.port),
                '-q',
                '--product',
                product,
                '--device',
                device,
                ...(count > 1 ? ['--count', String(count)] : []),
                '--version',
                version,
                '--burn-ms',
                '200',
                '--reboot-ms',
                '200',
                ...more,
            ],
            {stdio: 'ignore'},
        );
        this.#sims.push(sim);
        await until(
            async () => (await this.#online(product)) >= before + count,
            `${count} devices online`,
        );
        return {end: () => this.#end(sim, 'SIGTERM')};
    }

    async #online(product) {
        const {products} = await this.call('listProducts');
        return products.find((row) => row.product === product)?.online ?? 0;
    }

    // A command, as an admin, by HTTP Basic.
    async call(command, fields = {}) {
        const answer = await fetch(`${this.url}api/v1/control`, {
            method: 'POST',
            body: JSON.stringify({commands: [{command, ...fields}]}),
            headers: {
                'Content-Type': 'application/json',
                Authorization: `Basic ${Buffer.from(`admin:${USERS.admin}`).toString('base64')}`,
            },
        });
        const body = await answer.json();
        const [response] = body.responses ?? [{error: JSON.stringify(body)}];
        if (response.error !== undefined) {
            throw new Error(`${command}: ${response.error}`);
        }
        return response.data;
    }

    // more: fields of addFirmware; with an order and `signed` it is signed.
    async firmware(product, version, size = 1000, {signed = false, ...more} = {}) {
        const bytes = Buffer.alloc(size, version);
        const sha256 = createHash('sha256').update(bytes).digest('hex');
        const manifest = `mosquitto-ota/1\n${product}\n${version}\n${more.order}\n${size}\n${sha256}\n`;
        const signature = signed && {
            signature: sign(null, Buffer.from(manifest), this.key).toString('base64'),
        };
        const {upload} = await this.call('addFirmware', {
            product,
            version,
            filename: `${product}-${version}.bin`,
            size,
            sha256,
            ...more,
            ...signature,
        });
        for (let offset = 0; offset < size; offset += PIECE) {
            await this.call('uploadFirmwareBlock', {
                upload,
                offset,
                data: bytes.subarray(offset, offset + PIECE).toString('base64'),
            });
        }
        return (await this.call('commitFirmware', {upload})).firmware;
    }

    log() {
        return this.#log;
    }
}
