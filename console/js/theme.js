// SPDX-License-Identifier: BSD-3-Clause
// Light or dark: as the system has it, unless somebody chose.
import {t} from './text.js';

const KEY = 'ota-theme';
const THEMES = ['system', 'light', 'dark'];

function stored() {
    try {
        return THEMES.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : 'system';
    } catch {
        return 'system';
    }
}

let theme = stored();

export function applyTheme() {
    document.documentElement.dataset.theme = theme;
}

export function nextTheme() {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
        localStorage.setItem(KEY, theme);
    } catch {
        // A browser that stores nothing forgets it with the page.
    }
    applyTheme();
}

export const themeLabel = () => t(`theme.${theme}`);
