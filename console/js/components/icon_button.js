// SPDX-License-Identifier: BSD-3-Clause
// A button that is only an icon: so its label says what it does, and to what.
import {h} from '../dom.js';
import {icon} from './icon.js';

// kind: 'danger', 'small' or nothing. title is what the pointer is shown.
export function iconButton({name, label, click, title = null, kind = ''}) {
    return h(
        `button.icon-button${kind && `.${kind}`}`,
        {type: 'button', 'aria-label': label, title, on: {click}},
        icon(name),
    );
}
