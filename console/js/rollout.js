// SPDX-License-Identifier: BSD-3-Clause
// Good defaults for a rollout, by the size of the fleet (docs/rollouts.md), and the request that
// follows from the form. No elements here.

const HOUR = 3600;
export const MIN_SUCCESS = 90;

function shares(total) {
    if (total <= 5) {
        return [];
    }
    if (total <= 100) {
        return [{count: 1}, {percent: 25}, {percent: 100}];
    }
    return total <= 2000
        ? [{percent: 5}, {percent: 25}, {percent: 100}]
        : [{count: 20}, {percent: 5}, {percent: 25}, {percent: 100}];
}

// The stages of a way to go: 'careful' watches each one for an hour, 'quick' goes on at once.
export function stagesOf(way, total) {
    const soak = way === 'careful' ? HOUR : 0;
    return shares(total).map((stage, i, all) =>
        i + 1 === all.length
            ? stage
            : {...stage, minSuccessPercent: MIN_SUCCESS, soakSeconds: soak},
    );
}

// A brake that three unlucky devices of a large fleet don't pull, and that a small one has too.
export const brakeAfter = (total) => Math.max(2, Math.min(20, Math.round(total / 10)));

export function targetOf({which, versions, tags, online}) {
    const target = {
        ...(which === 'versions' && {fromVersions: versions}),
        ...(tags.length > 0 && {tags}),
        ...(online !== '' && {online: online === 'yes'}),
    };
    return Object.keys(target).length > 0 ? target : {all: true};
}

// Only what was said; what wasn't is left to the server's defaults.
export function requestOf(product, form) {
    const request = {product, version: form.version, target: targetOf(form)};
    const put = (key, value) => {
        if (value !== undefined && value !== '' && value !== false) {
            request[key] = value;
        }
    };
    put('name', form.name);
    put('stages', form.mode !== 'continuous' && form.stages.length > 0 ? form.stages : undefined);
    put('ratePerMinute', form.ratePerMinute);
    put('maxInFlight', form.maxInFlight);
    put(
        'failureThreshold',
        form.thresholdPercent
            ? {percent: form.thresholdPercent, minFinished: form.thresholdMin || 1}
            : undefined,
    );
    put('gate', form.gate === 'confirmed' ? undefined : form.gate);
    put(
        'retry',
        form.retries
            ? {max: form.retries, delaySeconds: Math.max(30, Math.round(form.retryMinutes * 60))}
            : undefined,
    );
    put('timeoutSeconds', form.timeoutMinutes ? Math.round(form.timeoutMinutes * 60) : undefined);
    put('startAt', form.startAt);
    put('expireAt', form.expireAt);
    put('mode', form.mode === 'continuous' ? form.mode : undefined);
    ['override', 'reinstall', 'allowDowngrade'].forEach((flag) => put(flag, form[flag]));
    return request;
}
