// SPDX-License-Identifier: BSD-3-Clause
// <dialog>s: a form, and a question before something that can't be taken back.
import {fill, h, newId} from '../dom.js';
import {t} from '../text.js';
import {icon} from './icon.js';
import {showFieldError} from './field.js';
import {placeToasts} from './toast.js';

// The dialog's frame; `closed` resolves when it has gone.
function frame(title, {wide = false, onClose} = {}) {
    const id = newId('d');
    const body = h('div.dialog-body');
    const foot = h('footer');
    const close = h(
        'button.icon-button',
        {type: 'button', 'aria-label': t('close')},
        icon('close'),
    );
    const form = h(
        'form',
        {novalidate: true},
        h('header', h('h2', {id}, title), close),
        body,
        foot,
    );
    const node = h(`dialog${wide ? '.wide' : ''}`, {'aria-labelledby': id}, form);
    const before = document.activeElement;
    const closed = new Promise((resolve) => {
        node.addEventListener('close', () => {
            node.remove();
            placeToasts();
            if (before?.isConnected) {
                before.focus();
            }
            onClose?.();
            resolve(node.returnValue);
        });
    });
    close.addEventListener('click', () => node.close(''));
    document.body.append(node);
    return {node, form, body, foot, closed, close: (value = '') => node.close(value)};
}

function busy(button, on) {
    button.disabled = on;
    button.classList.toggle('busy', on);
}

// A form. submit() does the work and may throw an ApiError, which is shown at its field or above
// the buttons; when it is through the dialog closes and the promise gives true.
export function formDialog({
    title,
    content,
    fields = {},
    action,
    kind = 'primary',
    submit,
    wide,
    onClose,
}) {
    const dialog = frame(title, {wide, onClose});
    const problem = h('p.form-error', {role: 'alert'});
    const button = h(`button.${kind}`, {type: 'submit'}, action);
    fill(dialog.body, content);
    fill(
        dialog.foot,
        problem,
        h('button', {type: 'button', on: {click: () => dialog.close()}}, t('cancel')),
        button,
    );
    dialog.form.addEventListener('submit', async (event) => {
        event.preventDefault();
        fill(problem, '');
        showFieldError(fields, null);
        busy(button, true);
        try {
            if ((await submit(dialog)) !== false) {
                dialog.close('done');
            }
        } catch (error) {
            if (!showFieldError(fields, error)) {
                fill(problem, error.message);
            }
        } finally {
            busy(button, false);
        }
    });
    dialog.node.showModal();
    dialog.node
        .querySelector(
            '.dialog-body input:not([type=file]), .dialog-body select, .dialog-body textarea',
        )
        ?.focus();
    return Object.assign(
        dialog.closed.then((value) => value === 'done'),
        {dialog, button},
    );
}

// Says what will be done and to how many, and does it after a yes.
export function confirmDialog({title, text, details, action, kind = 'danger', submit}) {
    return formDialog({title, action, kind, submit, content: [h('p', text), details]});
}
