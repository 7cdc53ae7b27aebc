// SPDX-License-Identifier: BSD-3-Clause
// What happens on the broker, as it happens: server-sent events, collected and handed out a few
// times a second. Where there is no stream, listeners are told every few seconds to look again.
import {onSession, session} from './session.js';

const FLUSH_MS = 400;
const POLL_MS = 5000;
const HIDDEN_MS = 30000;
const TYPES = ['task', 'version', 'presence', 'batch', 'firmware'];

let source = null;
let scope = null; // a product, or null: all
let state = 'connecting';
let pending = [];
let timer = null;
let poll = null;
let hiding = null;
const listeners = new Set();
const watchers = new Set();

function tell(events, fresh) {
    listeners.forEach((listener) => listener({events, fresh}));
}

function flush() {
    timer = null;
    const events = pending;
    pending = [];
    tell(events, false);
}

function take(message) {
    try {
        pending.push(JSON.parse(message.data));
    } catch {
        return;
    }
    timer ??= setTimeout(flush, FLUSH_MS);
}

function setState(next) {
    if (next === state) {
        return;
    }
    state = next;
    watchers.forEach((watcher) => watcher(state));
}

function startPolling() {
    poll ??= setInterval(() => tell([], true), POLL_MS);
}

function stopPolling() {
    clearInterval(poll);
    poll = null;
}

function close() {
    source?.close();
    source = null;
}

// A stream that the server refused outright doesn't come back by itself.
function reopen(mine) {
    setTimeout(() => {
        if (source === mine && session()) {
            open();
        }
    }, POLL_MS);
}

function open() {
    close();
    const mine = new EventSource(
        `api/v1/events${scope ? `?product=${encodeURIComponent(scope)}` : ''}`,
    );
    source = mine;
    TYPES.forEach((type) => mine.addEventListener(type, take));
    mine.addEventListener('open', () => {
        stopPolling();
        setState('live');
        tell([], true); // there is no replay: what happened before this has to be read
    });
    mine.addEventListener('error', () => {
        setState('polling');
        startPolling();
        if (mine.readyState === EventSource.CLOSED) {
            reopen(mine);
        }
    });
}

// Which product's events are wanted; null for all.
export function setScope(product) {
    if (product !== scope || source === null) {
        scope = product;
        if (session() && !document.hidden) {
            open();
        }
    }
}

// listener({events, fresh}) until the signal aborts; fresh: anything may have changed.
export function onLive(listener, signal) {
    listeners.add(listener);
    signal.addEventListener('abort', () => listeners.delete(listener));
}

export function onLiveState(watcher) {
    watchers.add(watcher);
    watcher(state);
}

// The connection is there again after it was lost.
export function refresh() {
    tell([], true);
    if (session() && source?.readyState !== EventSource.OPEN) {
        open();
    }
}

// A browser has six connections for a server: a tab that nobody looks at gives its one back.
document.addEventListener('visibilitychange', () => {
    clearTimeout(hiding);
    if (document.hidden) {
        hiding = setTimeout(() => {
            close();
            stopPolling();
        }, HIDDEN_MS);
    } else if (session() && source === null) {
        open();
        tell([], true);
    }
});

onSession((now) => {
    if (!now) {
        close();
        stopPolling();
    }
});
