// SPDX-License-Identifier: BSD-3-Clause
import {fill, h} from '../dom.js';
import {login} from '../api.js';
import {t} from '../text.js';
import {textField} from '../components/field.js';
import {icon} from '../components/icon.js';

export function loginView(ended) {
    const user = textField({
        label: t('login.user'),
        autocomplete: 'username',
        autocapitalize: 'none',
        name: 'user',
        required: true,
    });
    const password = textField({
        label: t('login.password'),
        type: 'password',
        autocomplete: 'current-password',
        name: 'password',
        required: true,
    });
    const problem = h('p.form-error', {role: 'alert'});
    const button = h('button.primary', {type: 'submit'}, t('login.action'));

    async function submit(event) {
        event.preventDefault();
        if (!user.value || !password.control.value) {
            (user.value ? password : user).control.focus();
            return;
        }
        button.disabled = true;
        fill(problem, '');
        try {
            await login(user.value, password.control.value);
        } catch (error) {
            fill(
                problem,
                error.wait
                    ? t('login.wait', {message: error.message, n: error.wait})
                    : error.message,
            );
            password.control.select();
        } finally {
            button.disabled = false;
        }
    }

    document.title = `${t('login.title')} · mosquitto-ota`;
    setTimeout(() => user.control.isConnected && user.control.focus());
    return h(
        'main.login',
        h(
            'form',
            {novalidate: true, on: {submit}},
            h('span.mark', {'aria-hidden': 'true'}, icon('upgrade')),
            h('h1', t('login.title')),
            h('p.faint', ended ? t('login.ended') : t('login.text')),
            user.node,
            password.node,
            problem,
            button,
        ),
    );
}
