// SPDX-License-Identifier: BSD-3-Clause
// "Add Firmware": the seed's rules stand there before they are broken, and are ticked off.
import {fill, h, newId} from '../dom.js';
import {call, upload} from '../api.js';
import {bytes} from '../format.js';
import {infoOf} from '../fleet.js';
import {sha256} from '../sha256.js';
import {t} from '../text.js';
import {progress} from '../components/bar.js';
import {formDialog} from '../components/dialog.js';
import {optional, textField} from '../components/field.js';
import {icon} from '../components/icon.js';
import {done, failed} from '../components/toast.js';

const VERSION = /^[A-Za-z0-9._-]{1,32}$/;
const NAME = /^[^/]{1,128}\.(bin|tar|gz|zip)$/i;
// Where an archive says what it is: offset and bytes, by extension.
const MAGIC = {
    gz: [0, [0x1f, 0x8b]],
    zip: [0, [0x50, 0x4b]],
    tar: [257, [0x75, 0x73, 0x74, 0x61, 0x72]],
};
const HEAD = 512;

async function looksRight(file) {
    const magic = MAGIC[file.name.toLowerCase().split('.').pop()];
    if (!magic) {
        return true;
    }
    const head = new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
    return magic[1].every((byte, i) => head[magic[0] + i] === byte);
}

const guessVersion = (name) => name.match(/\d+(\.\d+)+([-_][A-Za-z0-9]+)*/)?.[0].slice(0, 32) ?? '';

function rule(text) {
    const sign = h('span.rule-sign', {'aria-hidden': 'true'});
    const said = h('span.sr');
    const node = h('li', sign, h('span', text), said);
    return {
        node,
        // true, false, or undefined: nothing to judge yet
        set(kept) {
            node.className = kept === undefined ? '' : kept ? 'kept' : 'broken';
            fill(sign, kept === undefined ? '' : icon(kept ? 'check' : 'close'));
            fill(said, kept === undefined ? '' : t(kept ? 'rule.kept' : 'rule.broken'));
        },
    };
}

function makeRules(info, count) {
    return {
        version: rule(t('rule.version')),
        name: rule(t('rule.name')),
        size: rule(t('rule.size', {size: bytes(info.maxFirmwareSize)})),
        content: rule(t('rule.content')),
        count: rule(t('rule.count', {n: info.maxFirmwarePerProduct, now: count})),
    };
}

// The place for the file: drop it, or choose it.
function dropZone(onFile) {
    const id = newId('file');
    const words = h('span', t('firmware.drop'));
    const input = h('input.sr', {
        id,
        type: 'file',
        accept: '.bin,.tar,.gz,.zip',
        'aria-label': t('firmware.file'),
        on: {change: () => input.files[0] && take(input.files[0])},
    });
    const zone = h(
        'label.drop',
        {for: id},
        icon('upgrade'),
        words,
        h('span.faint', t('firmware.choose')),
    );
    const hover = (on) => (event) => {
        event.preventDefault();
        zone.classList.toggle('over', on);
    };

    function take(file) {
        fill(words, h('b', file.name), ' ', bytes(file.size));
        zone.classList.add('filled');
        onFile(file);
    }

    zone.addEventListener('dragover', hover(true));
    zone.addEventListener('dragleave', hover(false));
    zone.addEventListener('drop', (event) => {
        hover(false)(event);
        if (event.dataTransfer.files[0]) {
            take(event.dataTransfer.files[0]);
        }
    });
    return h('div.drop-holder', input, zone);
}

function makeFields(info, onVersion) {
    return {
        version: textField({
            label: t('firmware.version'),
            maxlength: '32',
            required: true,
            on: {input: onVersion},
        }),
        description: textField({label: optional(t('description')), maxlength: '256'}),
        order: textField({
            label: optional(t('firmware.order')),
            hint: t('firmware.order.help'),
            inputmode: 'numeric',
            pattern: '-?[0-9]+',
        }),
        signature: textField({
            label: info.requireSignature
                ? t('firmware.signature')
                : optional(t('firmware.signature')),
            hint: t('firmware.signature.help'),
        }),
    };
}

// announce, send, commit; what was announced and isn't wanted any more is taken back.
async function send(request, file, {signal, say}) {
    const digest = await sha256(file);
    signal.throwIfAborted();
    const announced = await call(
        'addFirmware',
        {...request, filename: file.name, size: file.size, sha256: digest},
        signal,
    );
    try {
        await upload(announced.upload, file, announced.offset, {
            signal,
            onProgress: (at) =>
                say(
                    (at / file.size) * 100,
                    t('firmware.sent', {at: bytes(at), all: bytes(file.size)}),
                ),
        });
        say(100, t('firmware.checking'));
        return await call('commitFirmware', {upload: announced.upload}, signal);
    } catch (error) {
        if (signal.aborted) {
            call('abortFirmware', {upload: announced.upload}).catch(() => {});
        }
        throw error;
    }
}

function requestOf(product, fields) {
    const request = {product, version: fields.version.value};
    if (fields.description.value) {
        request.description = fields.description.value;
    }
    if (fields.order.value) {
        request.order = Number(fields.order.value);
    }
    if (fields.signature.value) {
        request.signature = fields.signature.value;
    }
    return request;
}

function open(product, count, info, onAdded) {
    const ending = new AbortController();
    const rules = makeRules(info, count);
    const kept = {count: count < info.maxFirmwarePerProduct};
    const state = h('div.upload-state', {role: 'status'});
    const fields = makeFields(info, judgeVersion);
    let file = null;

    function judge(name, value) {
        kept[name] = value;
        rules[name].set(value);
    }

    function judgeVersion() {
        judge('version', fields.version.value ? VERSION.test(fields.version.value) : undefined);
    }

    async function takeFile(chosen) {
        file = chosen;
        judge('name', NAME.test(file.name));
        judge('size', file.size > 0 && file.size <= info.maxFirmwareSize);
        judge('content', kept.name ? await looksRight(file) : undefined);
        if (!fields.version.value) {
            fields.version.value = guessVersion(file.name);
            judgeVersion();
        }
    }

    function say(percent, words) {
        fill(state, progress(percent, t('firmware.progress')), h('p', words));
    }

    async function submit() {
        if (!file) {
            throw new Error(t('firmware.no_file'));
        }
        judge('version', VERSION.test(fields.version.value));
        const broken = Object.keys(rules).find((name) => kept[name] === false);
        if (broken) {
            throw new Error(
                t(`rule.${broken}.broken`, {
                    size: bytes(info.maxFirmwareSize),
                    n: info.maxFirmwarePerProduct,
                }),
            );
        }
        say(0, t('firmware.digesting'));
        try {
            await send(requestOf(product, fields), file, {signal: ending.signal, say});
        } catch (error) {
            fill(state);
            throw error;
        }
        done(t('firmware.added', {version: fields.version.value, product}));
        onAdded();
    }

    rules.count.set(kept.count);
    formDialog({
        title: t('firmware.add.title', {product}),
        action: t('firmware.upload'),
        wide: true,
        fields,
        submit,
        onClose: () => ending.abort(),
        content: [
            dropZone(takeFile),
            fields.version.node,
            h(
                'ul.rules',
                {'aria-label': t('rules')},
                Object.values(rules).map(({node}) => node),
            ),
            fields.description.node,
            h(
                'details',
                {open: Boolean(info.requireSignature)},
                h('summary', t('firmware.more')),
                fields.order.node,
                fields.signature.node,
            ),
            state,
        ],
    });
}

export async function addFirmware(product, count, onAdded) {
    try {
        open(product, count, await infoOf(), onAdded);
    } catch (error) {
        failed(error);
    }
}
