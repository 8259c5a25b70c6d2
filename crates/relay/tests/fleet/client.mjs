// A client of the fleet with the official JavaScript package, which keeps what it cannot deliver.
//
// Arguments: folder of the package, base URL, SDK key, name, visitors in a batch. Ends with its standard input.

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [packages, url, sdkKey, name, batch] = process.argv.slice(2);
const entry = join(packages, 'node_modules/@convertcom/js-sdk/lib/index.mjs');
const { default: ConvertSDK, LogLevel, SystemEvents } = await import(pathToFileURL(entry).href);

let ended = false;
process.stdin.on('end', () => { ended = true; }).resume();

const NEVER = 1e9;
const sdk = new ConvertSDK({
  sdkKey,
  api: { endpoint: { config: `${url}/api/v1`, track: `${url}/v1` } },
  environment: '',
  events: { batch_size: NEVER, release_interval: NEVER },
  logger: { logLevel: LogLevel.SILENT },
});
await sdk.onReady();
let failure;
sdk.on(SystemEvents.API_QUEUE_RELEASED, (_released, error) => { failure = error; });
const pause = () => new Promise((resolve) => { setTimeout(resolve, 50); });

for (let number = 0; !ended; number += Number(batch)) {
  const visitors = Array.from({ length: Number(batch) }, (_, index) => `${name}-${number + index}`);
  let last;
  for (const visitor of visitors) {
    last = sdk.createContext(visitor, {});
    // The package matches no experience without this.
    last.runExperience('homepage-headline', { locationProperties: {} });
    last.trackConversion('purchase', {});
  }
  let tries = 0;
  do {
    if (tries > 0) await pause();
    tries += 1;
    failure = undefined;
    await last.releaseQueues('fleet');
  } while (failure);
  console.log('acknowledged', tries > 1 ? 'again' : 'once', ...visitors);
}
process.exit(0);
