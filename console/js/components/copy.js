// SPDX-License-Identifier: BSD-3-Clause
// A button that copies a text, whose name its label tells.
import {t} from '../text.js';
import {iconButton} from './icon_button.js';
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
    return iconButton({
        name: 'copy',
        kind: 'small',
        label: t('copy', {name}),
        title: t('copy', {name}),
        click: () => copyText(text),
    });
}
