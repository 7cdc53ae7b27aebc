// SPDX-License-Identifier: BSD-3-Clause
// SHA-256 of a file. SubtleCrypto is there over HTTPS and on localhost only; a console on a plain
// http address in a laboratory has to do without it.

function primes(count) {
    const found = [];
    for (let n = 2; found.length < count; n += 1) {
        if (found.every((p) => n % p)) {
            found.push(n);
        }
    }
    return found;
}

// The first 32 bits behind the point.
const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
const K = Int32Array.from(primes(64), (p) => fraction(Math.cbrt(p)));
const START = primes(8).map((p) => fraction(Math.sqrt(p)));
const turn = (x, n) => (x >>> n) | (x << (32 - n));

export class Sha256 {
    #state = Int32Array.from(START);
    #words = new Int32Array(64);
    #rest = new Uint8Array(64);
    #held = 0;
    #length = 0;

    #block(view, at) {
        const w = this.#words;
        for (let i = 0; i < 16; i += 1) {
            w[i] = view.getInt32(at + 4 * i);
        }
        for (let i = 16; i < 64; i += 1) {
            const s0 = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ (w[i - 15] >>> 3);
            const s1 = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ (w[i - 2] >>> 10);
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        let [a, b, c, d, e, f, g, k] = this.#state;
        for (let i = 0; i < 64; i += 1) {
            const t1 =
                (k +
                    (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) +
                    ((e & f) ^ (~e & g)) +
                    K[i] +
                    w[i]) |
                0;
            const t2 =
                ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
            k = g;
            g = f;
            f = e;
            e = (d + t1) | 0;
            d = c;
            c = b;
            b = a;
            a = (t1 + t2) | 0;
        }
        [a, b, c, d, e, f, g, k].forEach((value, i) => {
            this.#state[i] += value;
        });
    }

    update(bytes) {
        this.#length += bytes.length;
        let at = 0;
        if (this.#held > 0) {
            at = Math.min(64 - this.#held, bytes.length);
            this.#rest.set(bytes.subarray(0, at), this.#held);
            this.#held += at;
            if (this.#held < 64) {
                return this;
            }
            this.#block(new DataView(this.#rest.buffer), 0);
            this.#held = 0;
        }
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        for (; at + 64 <= bytes.length; at += 64) {
            this.#block(view, at);
        }
        this.#rest.set(bytes.subarray(at));
        this.#held = bytes.length - at;
        return this;
    }

    hex() {
        const tail = new Uint8Array(this.#held < 56 ? 64 : 128);
        tail.set(this.#rest.subarray(0, this.#held));
        tail[this.#held] = 0x80;
        const view = new DataView(tail.buffer);
        view.setBigUint64(tail.length - 8, BigInt(this.#length) * 8n);
        for (let at = 0; at < tail.length; at += 64) {
            this.#block(view, at);
        }
        return [...this.#state].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
    }
}

const toHex = (buffer) =>
    [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, '0')).join('');

// Piece by piece, so that the page stays alive.
async function slowly(file, onProgress) {
    const hash = new Sha256();
    const piece = 512 * 1024;
    for (let at = 0; at < file.size; at += piece) {
        hash.update(new Uint8Array(await file.slice(at, at + piece).arrayBuffer()));
        onProgress?.(Math.min(at + piece, file.size));
    }
    return hash.hex();
}

export async function sha256(file, onProgress) {
    if (globalThis.crypto?.subtle) {
        return toHex(await crypto.subtle.digest('SHA-256', await file.arrayBuffer()));
    }
    return slowly(file, onProgress);
}
