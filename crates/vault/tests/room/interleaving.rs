//! Whatever happens at once, in whatever order, stops wherever it likes: a token that was acknowledged and not
//! shredded gives its own card, and one that was shredded gives none.

use crate::support::{Acting, House, NOW, Officers, card, tenant};
use hsm::{KeyLabel, KeyRef};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use store::Work;
use tokens::{Tenant, Token};
use vault::rotation::{Batch, Task};
use vault::{Purge, VaultError, shelf};

const NUMBERS: [&str; 4] = ["4242424242424242", "5555555555554444", "4000056655665556", "4111111111111111"];

/// One thing that happens. Batches are drafted in one step and settled, late or never, in another.
#[derive(Debug, Clone)]
enum Step {
    Tokenize { clinic: usize, number: usize, reuse: bool },
    Shred { nth: usize },
    ShredTenant { clinic: usize },
    Read { nth: usize },
    RotateKek,
    RotateMac,
    NewEpoch { clinic: usize, purge: bool },
    Draft { what: usize, limit: usize },
    Settle { nth: usize },
    DropBatch,
    DestroyEmptied,
    HeardOfKeys,
    Forget,
    Time { seconds: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        6 => (0..3usize, 0..NUMBERS.len(), any::<bool>())
            .prop_map(|(clinic, number, reuse)| Step::Tokenize { clinic, number, reuse }),
        1 => (0..40usize).prop_map(|nth| Step::Shred { nth }),
        1 => (0..9usize).prop_map(|clinic| Step::ShredTenant { clinic }),
        3 => (0..40usize).prop_map(|nth| Step::Read { nth }),
        1 => Just(Step::RotateKek),
        1 => Just(Step::RotateMac),
        2 => (0..3usize, any::<bool>()).prop_map(|(clinic, purge)| Step::NewEpoch { clinic, purge }),
        6 => (0..3usize, 1..6usize).prop_map(|(what, limit)| Step::Draft { what, limit }),
        6 => (0..4usize).prop_map(|nth| Step::Settle { nth }),
        1 => Just(Step::DropBatch),
        2 => Just(Step::DestroyEmptied),
        1 => Just(Step::HeardOfKeys),
        1 => Just(Step::Forget),
        1 => (1..400i64).prop_map(|seconds| Step::Time { seconds }),
    ];
    proptest::collection::vec(one, 10..60)
}

/// What was promised to callers.
struct Model {
    house: House,
    officers: Officers,
    kek: Option<KeyRef>,
    mac: Option<KeyRef>,
    cards: BTreeMap<(String, String), Option<usize>>,
    batches: Vec<Batch>,
}

impl Model {
    async fn new() -> Model {
        let (house, officers) = House::with_officers().await;
        Model { house, officers, kek: None, mac: None, cards: BTreeMap::new(), batches: vec![] }
    }

    fn nth(&self, nth: usize) -> Option<(Tenant, Token)> {
        let index = nth.checked_rem(self.cards.len())?;
        let ((clinic, token), _) = self.cards.iter().nth(index)?;
        Some((tenant(clinic), Token::parse(token).unwrap()))
    }

    fn task(&self, what: usize) -> Option<Task> {
        match what {
            0 => self.kek.clone().map(|to| Task::Rewrap { to }),
            1 => self.mac.clone().map(|to| Task::Refingerprint { to }),
            _ => Some(Task::Reencrypt { tenant: None }),
        }
    }

    async fn take(&mut self, step: Step) {
        let clinic = |number: usize| tenant(["north", "south", "west"][number % 3]);
        match step {
            Step::Tokenize { clinic: whose, number, reuse } => {
                let body = card(NUMBERS[number], if reuse { r#","reuse":true"# } else { "" });
                let whose = clinic(whose);
                let token = self.house.token(&whose, &body).await.expect("no request fails").token;
                let key = (whose.as_str().to_owned(), token.as_str().to_owned());
                let before = self.cards.insert(key, Some(number));
                assert!(before.is_none_or(|before| before == Some(number)), "a token changed its card");
            }
            Step::Shred { nth } => {
                let Some((whose, token)) = self.nth(nth) else { return };
                self.cards.insert((whose.as_str().to_owned(), token.as_str().to_owned()), None);
                self.commit(move |work| {
                    Box::pin(async move { shelf::shred(work, &whose, &token, NOW).await.map(|_| ()) })
                })
                .await;
            }
            // Seldom: it ends a third of everything.
            Step::ShredTenant { clinic: whose } if whose < 3 => {
                let (whose, vault) = (clinic(whose), self.house.vault.clone());
                for (_, card) in self.cards.iter_mut().filter(|((owner, _), _)| owner == whose.as_str()) {
                    *card = None;
                }
                let owner = whose.clone();
                self.commit(move |work| {
                    Box::pin(async move { vault.shred_tenant(work, &owner, NOW).await.map(|_| ()) })
                })
                .await;
                self.house.vault.purge_data_keys(&Purge::Tenant(whose));
            }
            Step::ShredTenant { .. } => {}
            Step::Read { nth } => {
                let Some((whose, token)) = self.nth(nth) else { return };
                self.read(&self.house.vault, &whose, &token).await;
            }
            Step::RotateKek => self.kek = Some(self.officers.rotate(&KeyLabel::KEK_CARD)),
            Step::RotateMac => self.mac = Some(self.officers.rotate(&KeyLabel::MAC_PAN)),
            Step::NewEpoch { clinic: whose, purge } => {
                let whose = clinic(whose);
                let draft = self.house.vault.new_epoch(&whose).await.unwrap();
                let now = vault::Clock::now_us(&*self.house.clock);
                self.commit(move |work| Box::pin(async move { draft.settle(work, now).await.map(|_| ()) }))
                    .await;
                if purge {
                    self.house.vault.purge_data_keys(&Purge::Tenant(whose));
                }
            }
            Step::Draft { what, limit } => {
                let Some(task) = self.task(what) else { return };
                match self.house.vault.rotation_batch(&task, None, limit).await {
                    Ok(batch) => self.batches.push(batch),
                    // A tenant that was shredded has no key to move to, and nothing that would have to move.
                    Err(error) => assert_eq!(error, VaultError::NoDataKey, "{task:?}"),
                }
            }
            Step::Settle { nth } => {
                let Some(index) = nth.checked_rem(self.batches.len()) else { return };
                let batch = self.batches.swap_remove(index);
                self.commit(move |work| {
                    Box::pin(
                        async move { batch.settle(work, NOW).await.map(|done| assert_eq!(done.broken, 0)) },
                    )
                })
                .await;
            }
            Step::DropBatch => drop(self.batches.pop()),
            Step::DestroyEmptied => {
                let vault = self.house.vault.clone();
                let now = vault::Clock::now_us(&*self.house.clock);
                self.commit(move |work| {
                    Box::pin(async move { vault.destroy_emptied(work, None, 5, now).await.map(|_| ()) })
                })
                .await;
            }
            Step::HeardOfKeys => self.house.vault.hsm_keys_changed().await,
            Step::Forget => self.house.vault.purge_data_keys(&Purge::Everything),
            Step::Time { seconds } => self.house.clock.forward(seconds),
        }
    }

    async fn commit<F>(&self, act: F)
    where
        F: for<'w> FnOnce(&'w mut Work<'_>) -> Acting<'w, ()> + Send + 'static,
    {
        self.house.commit(act).await.unwrap();
    }

    async fn read(&self, vault: &vault::Vault, whose: &Tenant, token: &Token) {
        let revealed = vault.reveal(whose, token, "ch").await;
        match self.cards[&(whose.as_str().to_owned(), token.as_str().to_owned())] {
            Some(number) => {
                let wire =
                    String::from_utf8(revealed.expect("a living token opens").wire().to_vec()).unwrap();
                assert!(wire.starts_with(&format!("card%5Bnumber%5D={}&", NUMBERS[number])));
            }
            None => assert_eq!(revealed.err(), Some(VaultError::TokenGone)),
        }
    }

    /// Ends every rotation and looks at everything with empty memory.
    async fn judge(&self) {
        self.house.vault.hsm_keys_changed().await;
        for task in (0..3).filter_map(|what| self.task(what)) {
            for _ in 0..100 {
                if self.house.vault.remaining(&task).await == Ok(0) {
                    break;
                }
                let batch = self.house.vault.rotation_batch(&task, None, 50).await.unwrap();
                self.commit(move |work| Box::pin(async move { batch.settle(work, NOW).await.map(|_| ()) }))
                    .await;
            }
            assert_eq!(self.house.vault.remaining(&task).await, Ok(0), "{task:?}");
        }
        let fresh = self.house.reopened();
        for (whose, token) in self.cards.keys() {
            self.read(&fresh, &tenant(whose), &Token::parse(token).unwrap()).await;
        }
    }
}

#[test]
fn p12_no_interleaving_of_rotations_shreds_and_requests_loses_a_token() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            runtime.block_on(async {
                let mut model = Model::new().await;
                for step in steps {
                    model.take(step).await;
                }
                model.judge().await;
            });
            Ok(())
        })
        .unwrap();
}
