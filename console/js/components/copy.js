// SPDX-License-Identifier: BSD-3-Clause
// A button that copies a text, whose name its label tells.
import {h} from '../dom.js';
import {t} from '../text.js';
import {icon} from './icon.js';
import {done, failed} from './toast.js';

async function copyText(text) {
    try {
        await navigator.clipboard.writeText(text);
        done(t('copied'));
    } catch {
        failed(new Error(t('copy.no')));
    }
}

export function copyButton(name, text) {
    return h(
        'button.icon-button.small',
        {
            type: 'button',
            'aria-label': t('copy', {name}),
            title: t('copy', {name}),
            on: {click: () => copyText(text)},
        },
        icon('copy'),
    );
}
