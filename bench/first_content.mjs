// SPDX-License-Identifier: BSD-3-Clause
// How soon each page of the console shows its content in a real Chromium: milliseconds from the
// start of the navigation. Run by pages.py.
//
//     OTA_COOKIE=… node bench/first_content.mjs http://127.0.0.1:PORT/ HASH…
import {launch} from '../tests/console/browser.mjs';

const TIMES = 5;
const [url, ...hashes] = process.argv.slice(2);

const median = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

// A page of its own each time; the browser's cache is empty, as for somebody who comes anew.
async function look(browser, hash) {
    const context = await browser.newContext();
    await context.addCookies([{name: 'ota_session', value: process.env.OTA_COOKIE, url}]);
    const page = await context.newPage();
    await page.goto(`${url}#${hash}`);
    await page.waitForFunction(
        () => document.querySelector('h1') && !document.querySelector('.skeleton'),
    );
    const times = await page.evaluate(() => ({
        content: performance.now(),
        paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0,
    }));
    await context.close();
    return times;
}

const browser = await launch();
try {
    await look(browser, hashes[0]); // starts what a browser starts once
    for (const hash of hashes) {
        const seen = [];
        for (let i = 0; i < TIMES; i += 1) {
            seen.push(await look(browser, hash));
        }
        const [paint, content] = ['paint', 'content'].map((key) => seen.map((one) => one[key]));
        console.log(
            [median(paint), median(content), Math.max(...content)]
                .map((ms) => ms.toFixed(0).padStart(9))
                .join(' '),
            ` ${hash}`,
        );
    }
} finally {
    await browser.close();
}
