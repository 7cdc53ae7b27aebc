// SPDX-License-Identifier: BSD-3-Clause
// The HTTP door (docs/control-api.md): session, commands, raw uploads.
import {changes, setSession} from './session.js';
import {t} from './text.js';

const BASE = 'api/v1/';
const TRIES = 3;
const PIECE = 256 * 1024;

export class ApiError extends Error {
    constructor(code, message, more = {}) {
        super(message);
        Object.assign(this, {code, ...more});
    }
}

export const isLost = (error) => error instanceof ApiError && error.code === 'network';
export const isBusy = (error) => error.status === 429 || error.status === 503;
export const isAbort = (error) => error?.name === 'AbortError';

// Told of every answer (true) and every time that none came (false): the banner hangs on it.
let reach = () => {};
export function onReach(listener) {
    reach = listener;
}

async function reachOut(path, options) {
    try {
        const response = await fetch(BASE + path, {
            credentials: 'same-origin',
            cache: 'no-store',
            ...options,
        });
        reach(true);
        return response;
    } catch (error) {
        if (isAbort(error)) {
            throw error;
        }
        reach(false);
        throw new ApiError('network', t('error.network'));
    }
}

async function bodyOf(response) {
    const text = await response.text();
    try {
        return text ? JSON.parse(text) : {};
    } catch {
        return {};
    }
}

async function ask(path, options) {
    const response = await reachOut(path, options);
    const body = await bodyOf(response);
    if (response.ok) {
        return body;
    }
    const error = body.error ?? {};
    const wait = Number(response.headers.get('Retry-After')) || undefined;
    throw new ApiError(
        error.code ?? `http_${response.status}`,
        error.message ?? t('error.http', {status: String(response.status)}),
        {
            status: response.status,
            field: error.field,
            offset: body.offset ?? error.offset,
            wait,
        },
    );
}

const json = (method, value, signal) => ({
    method,
    signal,
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify(value),
});

function pause(ms, signal) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, ms);
        signal?.addEventListener('abort', () => {
            clearTimeout(timer);
            reject(new DOMException('', 'AbortError'));
        });
    });
}

// The server counts a changing request by its id: sent again it isn't done again.
export function requestId() {
    return [...crypto.getRandomValues(new Uint8Array(16))]
        .map((byte) => byte.toString(16).padStart(2, '0'))
        .join('');
}

async function again(action, signal, tries = TRIES) {
    for (let attempt = 1; ; attempt += 1) {
        try {
            return await action();
        } catch (error) {
            const passing = isLost(error) || isBusy(error);
            if (!passing || attempt >= tries) {
                throw error;
            }
            await pause(Math.min(10, error.wait ?? attempt) * 1000, signal);
        }
    }
}

function unpack(response) {
    if (response.error !== undefined) {
        throw new ApiError(response.code, response.error, {field: response.field});
    }
    return response.data ?? {};
}

async function control(commands, signal) {
    try {
        return (await ask('control', json('POST', {commands}, signal))).responses ?? [];
    } catch (error) {
        if (error.status === 401) {
            setSession(null);
        }
        throw error;
    }
}

const prepared = ([command, fields = {}]) => ({
    command,
    ...fields,
    ...(changes(command) && !fields.dryRun ? {requestId: requestId()} : {}),
});

// One command; gives its data or throws an ApiError.
export async function call(command, fields, signal) {
    const request = prepared([command, fields]);
    const tries = changes(command) ? TRIES : 1;
    const [response] = await again(() => control([request], signal), signal, tries);
    return unpack(response ?? {error: t('error.http', {status: '–'}), code: 'internal'});
}

// Several in one request, in order: [[command, fields], …]; the first error is thrown.
export async function callAll(list, signal) {
    return (await control(list.map(prepared), signal)).map(unpack);
}

// Rows of a list until there are `limit` or there is no more. A page of the server may be short:
// it looks at 5,000 rows a call. `looks` bounds the calls; what is then left is behind `cursor`.
export async function page(command, key, fields, {limit, cursor, looks = 20, signal, onLook}) {
    const rows = [];
    let next = cursor;
    for (let look = 0; look < looks && rows.length < limit; look += 1) {
        onLook?.(look);
        const data = await call(
            command,
            {...fields, limit: Math.min(200, limit - rows.length), ...(next ? {cursor: next} : {})},
            signal,
        );
        rows.push(...data[key]);
        next = data.nextCursor;
        if (!next) {
            break;
        }
    }
    return {rows, next};
}

export async function login(user, password) {
    setSession(await ask('login', json('POST', {user, password})));
}

export async function logout() {
    await ask('logout', json('POST', {})).catch(() => {});
    setSession(null);
}

// null where nobody is logged in.
export async function whoAmI() {
    try {
        return await ask('session');
    } catch (error) {
        if (error.status === 401) {
            return null;
        }
        throw error;
    }
}

// Sends the file from offset on, piece by piece; goes on where the server says that it is.
export async function upload(id, file, offset, {signal, onProgress}) {
    let at = offset;
    while (at < file.size) {
        onProgress(at);
        const piece = file.slice(at, at + PIECE);
        try {
            const answer = await again(
                () =>
                    ask(`uploads/${id}?offset=${at}`, {
                        method: 'PUT',
                        signal,
                        headers: {'Content-Type': 'application/octet-stream'},
                        body: piece,
                    }),
                signal,
                5,
            );
            at = answer.offset;
        } catch (error) {
            if (error.status !== 409 || !Number.isInteger(error.offset) || error.offset === at) {
                throw error;
            }
            at = error.offset;
        }
    }
    onProgress(at);
}
