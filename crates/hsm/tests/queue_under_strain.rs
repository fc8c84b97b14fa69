//! Promises about the queue: bounded, on time, quick to say that the device is away, back by itself, and batching
//! what waits together.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code; a failure must stop the test")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hsm::{
    Context, DataKey, DeviceInfo, Health, Hsm, HsmError, HsmQueue, InputFault, KeyFilter, KeyInfo, KeyLabel,
    KeyRef, KeyVersion, MAX_MESSAGE, QueueSettings, SealedDataKey,
};

/// A device whose MAC is the message's first byte, and that can be slow, away, or panicking.
#[derive(Default)]
struct Odd {
    delay: Mutex<Duration>,
    away: AtomicBool,
    panics: AtomicBool,
    calls: AtomicUsize,
    largest_batch: AtomicUsize,
}

impl Odd {
    fn enter(&self) -> Result<(), HsmError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let delay = *self.delay.lock().unwrap();
        std::thread::sleep(delay);
        if self.panics.swap(false, Ordering::SeqCst) {
            panic!("a provider's bug");
        }
        if self.away.load(Ordering::SeqCst) { Err(HsmError::NeedsReinit) } else { Ok(()) }
    }
}

impl Hsm for Odd {
    fn describe(&self) -> Result<DeviceInfo, HsmError> {
        Err(HsmError::Denied)
    }
    fn health(&self) -> Result<Health, HsmError> {
        Err(HsmError::Denied)
    }
    fn random(&self, out: &mut [u8]) -> Result<(), HsmError> {
        self.enter()?;
        out.fill(4);
        Ok(())
    }
    fn keys(&self, _: &KeyFilter) -> Result<Vec<KeyInfo>, HsmError> {
        Ok(Vec::new())
    }
    fn new_data_key(&self, _: &KeyRef, _: &Context) -> Result<(DataKey, SealedDataKey), HsmError> {
        Err(HsmError::Denied)
    }
    fn open_data_key(&self, _: &SealedDataKey, _: &Context) -> Result<DataKey, HsmError> {
        Err(HsmError::Denied)
    }
    fn reseal_data_key(
        &self,
        _: &SealedDataKey,
        _: &Context,
        _: &KeyRef,
        _: &Context,
    ) -> Result<SealedDataKey, HsmError> {
        Err(HsmError::Denied)
    }
    fn mac(&self, _: &KeyRef, message: &[u8]) -> Result<[u8; 32], HsmError> {
        self.enter()?;
        Ok([*message.first().unwrap(); 32])
    }
    fn mac_many(&self, _: &KeyRef, messages: &[&[u8]]) -> Result<Vec<[u8; 32]>, HsmError> {
        self.enter()?;
        self.largest_batch.fetch_max(messages.len(), Ordering::SeqCst);
        Ok(messages.iter().map(|message| [*message.first().unwrap(); 32]).collect())
    }
    fn sign(&self, _: &KeyRef, _: &[u8]) -> Result<[u8; 64], HsmError> {
        Err(HsmError::Denied)
    }
}

fn queue(settings: QueueSettings) -> (HsmQueue, Arc<Odd>) {
    let odd = Arc::new(Odd::default());
    let device = Arc::clone(&odd);
    let queue = HsmQueue::start(settings, move || Ok(Box::new(Arc::clone(&device)))).unwrap();
    (queue, odd)
}

fn key() -> KeyRef {
    KeyLabel::MAC_PAN.at(KeyVersion::FIRST)
}

fn slow(odd: &Odd, millis: u64) {
    *odd.delay.lock().unwrap() = Duration::from_millis(millis);
}

#[tokio::test]
async fn macs_that_wait_together_go_down_together_and_each_caller_gets_its_own() {
    let (queue, odd) = queue(QueueSettings { workers: 1, ..QueueSettings::default() });
    slow(&odd, 30);
    let calls: Vec<_> = (1..=100_u8)
        .map(|n| {
            let queue = queue.clone();
            tokio::spawn(async move { (n, queue.mac(key(), vec![n; 40].into()).await) })
        })
        .collect();
    for call in calls {
        let (n, mac) = call.await.unwrap();
        assert_eq!(mac, Ok([n; 32]));
    }
    assert!(odd.calls.load(Ordering::SeqCst) <= 5, "100 MACs took many calls");
    assert_eq!(odd.largest_batch.load(Ordering::SeqCst), 64);
}

#[tokio::test]
async fn macs_under_different_keys_are_not_mixed() {
    let (queue, odd) = queue(QueueSettings { workers: 1, ..QueueSettings::default() });
    slow(&odd, 20);
    let calls: Vec<_> = (1..=20_u8)
        .map(|n| {
            let queue = queue.clone();
            let key = if n % 2 == 0 { key() } else { KeyLabel::MAC_REQUEST.at(KeyVersion::FIRST) };
            tokio::spawn(async move { queue.mac(key, vec![n].into()).await })
        })
        .collect();
    for (n, call) in (1..=20_u8).zip(calls) {
        assert_eq!(call.await.unwrap(), Ok([n; 32]));
    }
    assert!(odd.largest_batch.load(Ordering::SeqCst) <= 10);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let settings = QueueSettings { workers: 1, capacity: 4, ..QueueSettings::default() };
    let (queue, odd) = queue(settings);
    slow(&odd, 200);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let begun = Instant::now();
                (queue.random(8).await.map(|bytes| bytes.len()), begun.elapsed())
            })
        })
        .collect();
    let (mut served, mut refused) = (0, 0);
    for call in calls {
        match call.await.unwrap() {
            (Ok(8), _) => served += 1,
            (Err(HsmError::Overloaded), took) => {
                refused += 1;
                assert!(took < Duration::from_millis(100), "{took:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused >= 14 && (4..=6).contains(&served), "{served} served, {refused} refused");
}

#[tokio::test]
async fn a_device_that_hangs_costs_a_caller_its_deadline_and_no_more() {
    let deadline = Duration::from_millis(100);
    let (queue, odd) = queue(QueueSettings { workers: 1, deadline, ..QueueSettings::default() });
    slow(&odd, 600);
    let begun = Instant::now();
    assert_eq!(queue.mac(key(), vec![1].into()).await, Err(HsmError::Timeout));
    assert!(begun.elapsed() < Duration::from_millis(300));
    slow(&odd, 0);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(queue.mac(key(), vec![1].into()).await, Ok([1; 32]));
}

#[tokio::test]
async fn a_device_that_is_away_is_said_to_be_away_at_once_and_comes_back_by_itself() {
    let settings = QueueSettings {
        breaker_failures: 3,
        breaker_pause: Duration::from_millis(150),
        ..QueueSettings::default()
    };
    let (queue, odd) = queue(settings);
    odd.away.store(true, Ordering::SeqCst);
    for _ in 0..200 {
        assert_eq!(queue.mac(key(), vec![1].into()).await, Err(HsmError::NeedsReinit));
    }
    let asked = odd.calls.load(Ordering::SeqCst);
    assert!((3..60).contains(&asked), "the breaker did not spare the device: {asked}");
    assert!(queue.load().away);
    odd.away.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    while queue.mac(key(), vec![1].into()).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(1), "not back within a second");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!queue.load().away);
}

#[tokio::test]
async fn a_provider_that_panics_fails_one_call_and_the_next_is_served() {
    let (queue, odd) = queue(QueueSettings { workers: 1, ..QueueSettings::default() });
    odd.panics.store(true, Ordering::SeqCst);
    assert!(matches!(queue.mac(key(), vec![1].into()).await, Err(HsmError::Internal { .. })));
    assert_eq!(queue.mac(key(), vec![2].into()).await, Ok([2; 32]));
}

#[tokio::test]
async fn bad_messages_never_reach_the_device() {
    let (queue, odd) = queue(QueueSettings::default());
    let empty = queue.mac(key(), Vec::new().into()).await;
    assert_eq!(empty, Err(HsmError::InvalidInput(InputFault::Empty)));
    let long = queue.mac_many(key(), vec![vec![1; MAX_MESSAGE + 1].into()]).await;
    assert_eq!(long, Err(HsmError::InvalidInput(InputFault::TooLong)));
    assert_eq!(odd.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_factory_that_fails_is_asked_again() {
    let ready = Arc::new(AtomicBool::new(false));
    let (seen, odd) = (Arc::clone(&ready), Arc::new(Odd::default()));
    let queue = HsmQueue::start(QueueSettings::default(), move || {
        if seen.load(Ordering::SeqCst) { Ok(Box::new(Arc::clone(&odd))) } else { Err(HsmError::Denied) }
    })
    .unwrap();
    assert_eq!(queue.mac(key(), vec![1].into()).await, Err(HsmError::Denied));
    ready.store(true, Ordering::SeqCst);
    assert_eq!(queue.mac(key(), vec![1].into()).await, Ok([1; 32]));
}
