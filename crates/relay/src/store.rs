//! What the relays share in Redis: a stream of events for each SDK key, its consumer group, and the last good
//! configs. All names of one key have the same hash tag, and so live in the same cluster slot.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use redis::{Client, Cmd, FromRedisValue, RedisError, RedisResult, Value, cmd};
use thiserror::Error;

use crate::consumer::{Entry, Settlement};
use crate::link::{Link, says};
use crate::settings::Durability;

/// The consumer group of all relays.
const GROUP: &str = "relays";
/// How long a read waits for the first entry.
const BLOCK: Duration = Duration::from_secs(1);
/// Entries per read or takeover.
const READ_COUNT: usize = 16;
/// Where a look for abandoned entries begins, and what Redis says at its end.
pub(crate) const START: &str = "0-0";
/// Entries looked at by one command that lets them age.
const AGED: usize = 1000;
/// A consumer without entries is removed after this idle time, in milliseconds.
const FORGOTTEN_AFTER_MS: u64 = 24 * 60 * 60 * 1000;

/// The bytes of the bodies that are set aside per key, about: the oldest make room.
const REFUSED_BYTES: u64 = 64 << 20;

/// Begins the scripts that count bodies. KEYS: stream, its bytes. The count is wrong if somebody else removes entries
/// or changes it. If the stream is empty, or it cannot be right, what the stream takes in memory replaces it, which is
/// more than the bodies; a look at all parts of a very long stream would take too long.
const HELD: &str = r"
local SMALLEST, LONG = 64, 200000
local function field(entry, name)
  for i = 1, #entry[2], 2 do if entry[2][i] == name then return entry[2][i + 1] end end
  return nil
end
local function counted()
  local count = redis.pcall('GET', KEYS[2])
  return type(count) == 'string' and tonumber(count) or -1
end
local function in_memory(entries)
  local used = redis.pcall('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', entries > LONG and 10000 or 0)
  return type(used) == 'number' and used or entries * SMALLEST
end
local function held(own)
  local entries, count = redis.call('XLEN', KEYS[1]) - own, counted()
  if entries == 0 then return 0 end
  if count >= entries * SMALLEST and count < 2 ^ 53 then return count end
  return in_memory(entries)
end";

/// Runs in one transaction with the `XADD` before it, and takes that back if it must not be, or if anything fails: a
/// body in a script would cost Redis twice the time. KEYS: stream, its bytes, the batch id, the marks of conversions.
/// ARGV: length of the body (0: nothing was appended), bound, milliseconds for which an id is remembered (0: no id) and
/// a mark is, token. A repetition writes too, so that a `WAIT` after it covers the first append.
const JUDGE: &str = r"
local length, remembered, has_written = tonumber(ARGV[1]), tonumber(ARGV[3]), false
local function judge()
  if remembered > 0 and redis.call('GET', KEYS[3]) then
    redis.call('SET', KEYS[3], '1', 'KEEPTTL')
    return 'again'
  end
  for i = 4, #KEYS do
    if redis.call('GET', KEYS[i]) then return 'outrun' end
  end
  local sum = held(length > 0 and 1 or 0) + length
  if sum > tonumber(ARGV[2]) then return 'full' end
  has_written = true
  if remembered > 0 then redis.call('SET', KEYS[3], '1', 'PX', ARGV[3]) end
  for i = 4, #KEYS do redis.call('SET', KEYS[i], '1', 'PX', ARGV[4]) end
  redis.call('SET', KEYS[2], sum)
  return 'new'
end
local done, verdict = pcall(judge)
if done and verdict == 'new' then return verdict end
if length > 0 then
  local newest = redis.pcall('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  if newest and field(newest, 'token') == ARGV[5] then redis.call('XDEL', KEYS[1], newest[1]) end
end
if done then return verdict end
if has_written then
  for i = remembered > 0 and 3 or 4, #KEYS do redis.pcall('DEL', KEYS[i]) end
end
return redis.error_reply(type(verdict) == 'table' and verdict.err or verdict)";

/// KEYS: stream, its bytes, the refusals. ARGV: group, bounds of the refusals in entries and bytes, then for each
/// entry: id, token, bytes, number of refused events, and for each of these status and body. Nothing is recorded for an
/// entry that is already gone, and nothing is done to another one that has its id. When out of memory, Redis fails a
/// script at its first append unless it has written before, so XACK comes first. Each refusal has the sum of the bodies
/// up to it, so that any two tell what is between them. Returns how many could not be set aside.
const SETTLE: &str = r"
local at, freed, unkept, sum = 4, 0, 0, nil
local function set_aside(id, status, body)
  local function first() return redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1] end
  if not sum then
    local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
    sum = newest and tonumber(field(newest, 'sum')) or 0
  end
  sum = sum + #body
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'entry', id, 'status', status, 'body', body, 'sum', sum)
  local oldest = first()
  while oldest and sum - (tonumber(field(oldest, 'sum')) or 0) > tonumber(ARGV[3]) do
    redis.call('XDEL', KEYS[3], oldest[1])
    oldest = first()
  end
end
while ARGV[at] do
  local id, token, bytes, refused = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 4
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not entry or (#(field(entry, 'body') or '') == bytes and (field(entry, 'token') or '') == token) then
    redis.call('XACK', KEYS[1], ARGV[1], id)
    if entry then
      for i = 0, refused - 1 do
        if not pcall(set_aside, id, ARGV[at + 2 * i], ARGV[at + 2 * i + 1]) then unkept = unkept + 1 end
      end
      freed = freed + bytes
      redis.call('XDEL', KEYS[1], id)
    end
  end
  at = at + 2 * refused
end
if freed > 0 then
  local count = redis.call('XLEN', KEYS[1]) == 0 and 0 or counted()
  redis.call('SET', KEYS[2], math.max(0, count - freed))
end
return unkept";

/// KEYS: stream, its bytes, the refusals, whether a recount was made lately. Corrects the count, also one that is more
/// than the stream takes in memory; looks for that once a minute.
const STANDING: &str = r"
local entries, bytes = redis.call('XLEN', KEYS[1]), held(0)
if entries > 0 and entries <= LONG then
  if redis.call('PTTL', KEYS[4]) == -1 then redis.call('DEL', KEYS[4]) end
  local turn = redis.pcall('SET', KEYS[4], '1', 'NX', 'PX', 60000)
  if type(turn) == 'table' and turn.ok then bytes = math.min(bytes, in_memory(entries)) end
end
if bytes ~= counted() and (bytes > 0 or redis.call('EXISTS', KEYS[2]) == 1) then redis.pcall('SET', KEYS[2], bytes) end
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local refused, now = redis.pcall('XLEN', KEYS[3]), redis.call('TIME')
return { entries, bytes, oldest and oldest[1] or '', type(refused) == 'number' and refused or 0, now[1], now[2] }";

/// KEYS: the turn. ARGV: the interval in milliseconds. A turn that lasts longer is of before Redis's clock went back;
/// one without an end is somebody else's work.
const TAKE_TURN: &str = r"
local left = redis.call('PTTL', KEYS[1])
if left == -1 or left > tonumber(ARGV[1]) then redis.call('DEL', KEYS[1]) end
return redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1])";

/// KEYS: stream. ARGV: group, where to begin, how many to look at. Entries that were touched in the future of Redis's
/// clock, as it has gone back, have the idle time 0 until then: they begin to age now. Returns where to go on, if
/// anywhere.
const AGE: &str = r"
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], '+', ARGV[3])
for _, it in ipairs(pending) do
  if it[3] == 0 then redis.call('XCLAIM', KEYS[1], ARGV[1], it[2], 0, it[1], 'IDLE', 0, 'JUSTID') end
end
return #pending == tonumber(ARGV[3]) and '(' .. pending[#pending][1] or ''";

/// KEYS: stream. ARGV: group, consumer, idle time in milliseconds, ids. Sets the idle time of the consumer's
/// own entries; returns the ids that are no longer its own. One that is nobody's any more, as its consumer was deleted
/// or an operator acknowledged it, would never be delivered: it is claimed again.
const TOUCH: &str = r"
local lost = {}
for i = 4, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  local owner = pending[1] and pending[1][2]
  if not owner and redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1] then owner = ARGV[2] end
  if owner == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[3], 'FORCE', 'JUSTID')
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost";

/// KEYS: stream. ARGV: group, idle milliseconds. Removes consumers without entries that have been idle for
/// long.
const FORGET: &str = r"
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local facts = {}
  for i = 1, #consumer, 2 do facts[consumer[i]] = consumer[i + 1] end
  if facts.pending == 0 and facts.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], facts.name)
  end
end
return 'OK'";

/// KEYS: the config of a key and environment, the key's project. ARGV: the config's project, the one that the relay
/// knows if Redis has none, then the fields. Whether the config was kept: another project's never replaces one.
const KEEP: &str = r"
local known = redis.call('GET', KEYS[2]) or ARGV[2]
if known ~= '' and known ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return 1";

/// Redis failed a command. Shows no address.
#[derive(Debug, Clone, Error)]
#[error("Redis: {0}")]
pub(crate) struct StoreError(String);

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        Self(match error.code() {
            Some(code) => code.to_owned(),
            None if error.is_timeout() => "no answer in time".to_owned(),
            None if error.is_connection_refusal() => "connection refused".to_owned(),
            None if error.is_connection_dropped() => "connection lost".to_owned(),
            None => format!("{:?}", error.kind()),
        })
    }
}

type Stored<T> = Result<T, StoreError>;

/// The result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    New,
    /// This batch was already appended.
    Again,
    /// The stream has reached its bound.
    Full,
    /// Appended, but not on as many replicas as demanded.
    TooFewReplicas,
    /// Not appended: one of the conversions has been marked in the meantime.
    Outrun,
}

/// What an append remembers, and for how long.
#[derive(Clone, Copy, Default)]
pub(crate) struct Remembered<'a> {
    pub(crate) id: Option<(&'a str, Duration)>,
    pub(crate) marks: &'a [String],
    pub(crate) marks_for: Duration,
}

/// The state of a key's stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// When the oldest entry was appended, in milliseconds since 1970 by Redis's clock.
    pub(crate) oldest_ms: Option<u64>,
    /// Redis's clock, in the same units.
    pub(crate) now_ms: u64,
    pub(crate) refusals: u64,
}

/// A stored config.
pub(crate) struct KeptConfig {
    pub(crate) tag: String,
    pub(crate) upstream_etag: Option<String>,
    pub(crate) confirmed_ms: u64,
    pub(crate) body: String,
}

/// A connection for commands that answer at once.
#[derive(Clone)]
pub(crate) struct Store {
    link: Arc<Link>,
    prefix: Box<str>,
}

/// A connection for blocking reads.
pub(crate) struct Reader {
    store: Store,
    consumer: String,
}

impl Store {
    /// Connects with the first command, and reconnects when the connection is lost.
    pub(crate) fn new(client: Client, prefix: &str) -> Stored<Self> {
        Ok(Self { link: Arc::new(Link::new(client)?), prefix: prefix.into() })
    }

    /// The name of a key's data in Redis.
    fn name(&self, key: &str, what: &str) -> String {
        format!("{}{{{key}}}:{what}", self.prefix)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Stored<T> {
        Ok(self.link.query(command).await?)
    }

    /// Whether Redis takes writes; changes nothing.
    pub(crate) async fn try_write(&self) -> Stored<()> {
        let mut set = cmd("SETRANGE");
        set.arg(format!("{}no such key", self.prefix)).arg(0).arg("");
        match self.ask::<Value>(&set).await {
            // Somebody made a key of this name.
            Err(StoreError(code)) if code == "WRONGTYPE" => Ok(()),
            answered => answered.map(drop),
        }
    }

    /// Appends a body, at most once per id and mark while these are remembered.
    pub(crate) async fn append(
        &self,
        key: &str,
        body: &[u8],
        bound: u64,
        remembered: Remembered<'_>,
        durability: Durability,
    ) -> Stored<Appended> {
        let (id, window) = remembered.id.map_or(("", 0), |(id, window)| (id, window.as_millis() as u64));
        let (stream, token) = (self.name(key, "events"), token());
        let mut names = vec![self.name(key, &format!("id:{id}"))];
        names.extend(remembered.marks.iter().map(|mark| self.mark(key, mark)));
        let mut pipeline = redis::pipe();
        pipeline.cmd("MULTI");
        if !body.is_empty() {
            pipeline.cmd("XADD").arg(&stream).arg(&["*", "body"]).arg(body).arg("token").arg(&token);
        }
        let judge = pipeline.cmd("EVAL").arg(format!("{HELD}{JUDGE}")).arg(2 + names.len());
        judge.arg(&stream).arg(self.name(key, "bytes")).arg(&names).arg(body.len()).arg(bound).arg(window);
        judge.arg(remembered.marks_for.as_millis().max(1) as u64).arg(&token);
        // Not `atomic`, as `WAIT` must come after the transaction.
        let at = pipeline.len();
        pipeline.cmd("EXEC");
        let replicas = match durability {
            Durability::Appended => 0,
            Durability::Replicated { replicas, within } => {
                pipeline.cmd("WAIT").arg(replicas).arg(within.as_millis().max(1) as u64);
                replicas
            }
        };
        let mut answers = self.link.query_all(&mut pipeline).await?.into_iter().skip(at);
        let Some(Value::Array(executed)) = answers.next() else { return Err(unread(())) };
        let failure = executed.iter().find_map(|answer| match answer {
            Value::ServerError(failure) => Some(StoreError(failure.code().to_owned())),
            _ => None,
        });
        let verdict = executed.into_iter().next_back().unwrap_or(Value::Nil);
        let verdict = String::from_redis_value(verdict);
        if let Some(failure) = failure
            && verdict.as_ref().map_or(true, |verdict| verdict == "new")
        {
            if verdict.is_ok() {
                // A stream without further ids. Nothing was appended, so nothing may be remembered.
                self.link.query::<()>(cmd("DEL").arg(&names)).await?;
            }
            return Err(failure);
        }
        let verdict = verdict.map_err(unread)?;
        let reached = answers.next().map_or(Ok(0), redis::from_redis_value::<u64>).map_err(unread)?;
        Ok(match verdict.as_str() {
            "full" => Appended::Full,
            "outrun" => Appended::Outrun,
            _ if reached < u64::from(replicas) => Appended::TooFewReplicas,
            "again" => Appended::Again,
            "new" => Appended::New,
            _ => return Err(unread(())),
        })
    }

    /// Those of these conversions that are marked.
    pub(crate) async fn marked(&self, key: &str, marks: &[String]) -> Stored<HashSet<String>> {
        let mut get = cmd("MGET");
        for mark in marks {
            get.arg(self.mark(key, mark));
        }
        if marks.is_empty() {
            return Ok(HashSet::new());
        }
        let found: Vec<Option<String>> = self.ask(&get).await?;
        Ok(marks
            .iter()
            .zip(found)
            .filter(|(_, found)| found.is_some())
            .map(|(mark, _)| mark.clone())
            .collect())
    }

    /// The bytes in the stream.
    pub(crate) async fn bytes(&self, key: &str) -> Stored<u64> {
        let mut get = cmd("GET");
        get.arg(self.name(key, "bytes"));
        let counted: Option<String> = self.ask(&get).await?;
        // One that is no number is corrected at the next look at the standing.
        Ok(counted.and_then(|counted| counted.parse().ok()).unwrap_or_default())
    }

    fn mark(&self, key: &str, mark: &str) -> String {
        self.name(key, &format!("sent:{mark}"))
    }

    /// Removes entries that are done, and sets aside what Convert rejected. Returns how much of that Redis would not
    /// keep.
    pub(crate) async fn settle(&self, key: &str, settled: &[Settlement], keep: u64) -> Stored<u64> {
        let mut eval = cmd("EVAL");
        eval.arg(format!("{HELD}{SETTLE}")).arg(3);
        eval.arg(self.name(key, "events")).arg(self.name(key, "bytes")).arg(self.name(key, "refused"));
        eval.arg(GROUP).arg(keep).arg(REFUSED_BYTES);
        for Settlement { id, token, bytes, unaccepted, .. } in settled {
            eval.arg(id).arg(token).arg(*bytes).arg(unaccepted.len());
            for event in unaccepted {
                let status = event.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
                eval.arg(status).arg(&event.body);
            }
        }
        self.ask(&eval).await
    }

    /// Keeps a consumer's entries from looking abandoned, or with a long `idle` makes them look so at once.
    /// Returns the ids that belong to another consumer by now.
    pub(crate) async fn touch(
        &self,
        key: &str,
        consumer: &str,
        ids: &[String],
        idle: Duration,
    ) -> Stored<Vec<String>> {
        let mut eval = cmd("EVAL");
        eval.arg(TOUCH).arg(1).arg(self.name(key, "events"));
        eval.arg(GROUP).arg(consumer).arg(idle.as_millis() as u64).arg(ids);
        self.ask(&eval).await
    }

    pub(crate) async fn standing(&self, key: &str) -> Stored<Standing> {
        let mut eval = cmd("EVAL");
        eval.arg(format!("{HELD}{STANDING}")).arg(4);
        for what in ["events", "bytes", "refused", "recounted"] {
            eval.arg(self.name(key, what));
        }
        let (entries, bytes, oldest, refusals, seconds, micros): (u64, u64, String, u64, u64, u64) =
            self.ask(&eval).await?;
        let oldest_ms = oldest.split_once('-').and_then(|(oldest, _)| oldest.parse().ok());
        Ok(Standing { entries, bytes, oldest_ms, now_ms: seconds * 1000 + micros / 1000, refusals })
    }

    /// Whether this relay may ask Convert for a config in this interval. If it dies, only this interval is
    /// lost: the next one has a turn of its own.
    pub(crate) async fn take_turn(&self, key: &str, variant: &str, interval: Duration) -> Stored<bool> {
        let mut eval = cmd("EVAL");
        eval.arg(TAKE_TURN).arg(1).arg(self.name(key, &format!("turn:{variant}")));
        eval.arg(interval.as_millis().max(1) as u64);
        self.ask::<Option<String>>(&eval).await.map(|done| done.is_some())
    }

    /// Lets the next turn begin this soon after a failed one.
    pub(crate) async fn shorten_turn(&self, key: &str, variant: &str, wait: Duration) -> Stored<()> {
        let mut expire = cmd("PEXPIRE");
        expire.arg(self.name(key, &format!("turn:{variant}"))).arg(wait.as_millis().max(1) as u64);
        self.ask(&expire).await
    }

    /// The tag of the stored config and when it was last confirmed.
    pub(crate) async fn config_tag(&self, key: &str, variant: &str) -> Stored<Option<(String, u64)>> {
        let mut get = cmd("HMGET");
        get.arg(self.name(key, &format!("config:{variant}"))).arg("tag").arg("confirmed");
        let (tag, confirmed): (Option<String>, Option<u64>) = self.ask(&get).await?;
        Ok(tag.zip(confirmed))
    }

    pub(crate) async fn config(&self, key: &str, variant: &str) -> Stored<Option<KeptConfig>> {
        let mut get = cmd("HMGET");
        get.arg(self.name(key, &format!("config:{variant}"))).arg(&["tag", "confirmed", "etag", "body"]);
        let (tag, confirmed, etag, body): (Option<String>, Option<u64>, Option<String>, Option<String>) =
            self.ask(&get).await?;
        let kept = tag.zip(confirmed).zip(body);
        Ok(kept.map(|((tag, confirmed_ms), body)| {
            let upstream_etag = etag.filter(|etag| !etag.is_empty());
            KeptConfig { tag, upstream_etag, confirmed_ms, body }
        }))
    }

    /// Whether the config was kept: not if the key has another project. If Redis knows none, `known` is the key's.
    pub(crate) async fn keep_config(
        &self,
        key: &str,
        variant: &str,
        config: &KeptConfig,
        project: &str,
        known: &str,
    ) -> Stored<bool> {
        let mut eval = cmd("EVAL");
        eval.arg(KEEP).arg(2);
        eval.arg(self.name(key, &format!("config:{variant}"))).arg(self.name(key, "project"));
        eval.arg(project).arg(known);
        eval.arg("tag").arg(&config.tag).arg("confirmed").arg(config.confirmed_ms);
        eval.arg("etag").arg(config.upstream_etag.as_deref().unwrap_or_default());
        eval.arg("body").arg(&config.body);
        self.ask(&eval).await
    }

    pub(crate) async fn confirm_config(&self, key: &str, variant: &str, confirmed_ms: u64) -> Stored<()> {
        let mut set = cmd("HSET");
        set.arg(self.name(key, &format!("config:{variant}"))).arg("confirmed").arg(confirmed_ms);
        self.ask::<Value>(&set).await.map(drop)
    }
}

impl Reader {
    /// Opens a connection of its own, because reads block.
    pub(crate) fn new(client: Client, prefix: &str, consumer: &str) -> Stored<Self> {
        Ok(Self { store: Store::new(client, prefix)?, consumer: consumer.to_owned() })
    }

    /// New entries; none if none arrived within a second.
    pub(crate) async fn read(&self, key: &str) -> Stored<Vec<Entry>> {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.consumer).arg("COUNT").arg(READ_COUNT);
        read.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        read.arg("STREAMS").arg(self.store.name(key, "events")).arg(">");
        let reply: Option<StreamReadReply> = self.grouped(key, &read).await?;
        let streams = reply.map(|reply| reply.keys).unwrap_or_default();
        Ok(streams.into_iter().flat_map(|stream| stream.ids).map(entry).collect())
    }

    /// Takes over entries that their consumers have not touched for this long, oldest first, and returns where to
    /// go on: Redis looks at a bounded number of entries at a time, including those that are touched.
    pub(crate) async fn take_over(
        &self,
        key: &str,
        idle: Duration,
        from: &str,
    ) -> Stored<(Vec<Entry>, String)> {
        let mut claim = cmd("XAUTOCLAIM");
        claim.arg(self.store.name(key, "events")).arg(GROUP).arg(&self.consumer);
        claim.arg(idle.as_millis() as u64).arg(from).arg("COUNT").arg(READ_COUNT);
        let reply: StreamAutoClaimReply = self.grouped(key, &claim).await?;
        Ok((reply.claimed.into_iter().map(entry).collect(), reply.next_stream_id))
    }

    /// Lets what was touched in the future of Redis's clock age from now on; returns where to go on, if anywhere.
    pub(crate) async fn age(&self, key: &str, from: &str) -> Stored<Option<String>> {
        let mut eval = cmd("EVAL");
        eval.arg(AGE).arg(1).arg(self.store.name(key, "events")).arg(GROUP).arg(from).arg(AGED);
        let next: String = self.grouped(key, &eval).await?;
        Ok(Some(next).filter(|next| !next.is_empty()))
    }

    /// Redis's clock, as the time since 1970.
    pub(crate) async fn clock(&self) -> Stored<Duration> {
        let (seconds, micros): (u64, u32) = self.store.ask(&cmd("TIME")).await?;
        Ok(Duration::new(seconds, micros.saturating_mul(1000)))
    }

    pub(crate) async fn forget_consumers(&self, key: &str) -> Stored<()> {
        let mut eval = cmd("EVAL");
        eval.arg(FORGET).arg(1).arg(self.store.name(key, "events")).arg(GROUP).arg(FORGOTTEN_AFTER_MS);
        self.grouped(key, &eval).await
    }

    /// Runs a command that needs the group, creating the group if it is missing.
    async fn grouped<T: FromRedisValue>(&self, key: &str, command: &Cmd) -> Stored<T> {
        let link = &self.store.link;
        match link.query(command).await {
            Err(error) if says(&error, "NOGROUP") => {
                let mut create = cmd("XGROUP");
                create.arg("CREATE").arg(self.store.name(key, "events")).arg(GROUP).arg("0").arg("MKSTREAM");
                let created: RedisResult<()> = link.query(&create).await;
                // Another relay may have been faster.
                if let Err(error) = created
                    && error.code() != Some("BUSYGROUP")
                {
                    return Err(error.into());
                }
                Ok(link.query(command).await?)
            }
            answered => Ok(answered?),
        }
    }
}

fn entry(read: StreamId) -> Entry {
    let (token, body) = (read.get("token").unwrap_or_default(), read.get("body").unwrap_or_default());
    Entry { id: read.id, token, body }
}

fn unread<E>(_: E) -> StoreError {
    StoreError("an answer that cannot be read".to_owned())
}

/// Tells one append from all others.
fn token() -> String {
    format!("{:016x}", RandomState::new().hash_one(Instant::now()))
}
