// SPDX-License-Identifier: BSD-3-Clause
// Nothing here: and what to do next.
import {h} from '../dom.js';
import {t} from '../text.js';
import {icon} from './icon.js';

export function empty(sign, title, text, ...actions) {
    return h(
        'div.empty',
        h('span.empty-sign', icon(sign)),
        h('h2', title),
        text && h('p', text),
        actions.length > 0 && h('div.actions', actions),
    );
}

export function trouble(error, retry) {
    return h(
        'div.empty.bad',
        {role: 'alert'},
        h('span.empty-sign', icon('alert')),
        h('h2', t('error.title')),
        h('p', error.message),
        h(
            'div.actions',
            retry && h('button', {type: 'button', on: {click: retry}}, icon('retry'), t('again')),
        ),
    );
}

export function skeleton(lines = 6) {
    return h(
        'div.skeleton',
        {'aria-hidden': 'true'},
        Array.from({length: lines}, (_, i) => h('i', {vars: {part: `${92 - ((i * 17) % 40)}%`}})),
    );
}

export function notice(kind, ...content) {
    return h(`div.notice.${kind}`, icon(kind === 'info' ? 'info' : 'alert'), h('div', content));
}
