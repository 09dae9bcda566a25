//! Halves of models made to run: sessions by graph, provider and precision, shared between threads.
//!
//! Invariant: a session is loaded once and used again; under `auto` a provider that didn't start is not asked again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::attempt::{Attempt, Done, first_success};
use super::builtin;
use super::hub::Hub;
use super::pool::Pool;
use super::precision::Precision;
use super::provider::Provider;
use super::session::{Failure, GraphAt, Session, SessionOptions};
use super::spec::{ModelHalf, ModelSpec};
use crate::error::{Error, ErrorKind, Result};

/// The most images a GPU is given at once. Batches are cut into powers of two up to this, so that a
/// GPU prepares itself for five batch sizes and not for every one that comes.
const MAX_BATCH: usize = 16;

/// What a hub has loaded, and what it couldn't.
#[derive(Default)]
pub(super) struct Sessions {
    pools: Mutex<Pools>,
    /// Providers that didn't start; with `auto` they aren't asked again.
    lost: Mutex<Vec<Provider>>,
}

/// By model, half, graph, provider and precision.
type Pools = HashMap<(String, Side, Scope, Attempt), Arc<Pool<Session>>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Encoder,
    Decoder,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Encoder => "encoder",
            Side::Decoder => "decoder",
        }
    }
}

/// What a graph sees at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// All of an image, or a tile as if it were all.
    Image,
    /// A tile, with the statistics of all tiles for its norms.
    Tile,
}

/// Half of a model that is to be run.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) spec: &'a ModelSpec,
    pub(super) side: Side,
    pub(super) half: &'a ModelHalf,
}

impl<'a> Job<'a> {
    pub(super) fn of(spec: &'a ModelSpec, side: Side) -> Result<Self> {
        let half = match side {
            Side::Encoder => &spec.encoder,
            Side::Decoder => &spec.decoder,
        };
        let half = half.as_ref().ok_or_else(|| spec.lacks(side.name()))?;
        Ok(Self { spec, side, half })
    }

    /// What messages call it.
    pub(super) fn name(&self) -> String {
        format!("the {} of `{}`", self.side.name(), self.spec.name)
    }

    fn file(&self, scope: Scope, precision: Precision) -> Option<&'a str> {
        let (f32, f16) = match scope {
            Scope::Image => (Some(&self.half.file), self.half.file_f16.as_ref()),
            Scope::Tile => {
                let tiles = self.half.tiles.as_ref()?;
                (tiles.file.as_ref(), tiles.file_f16.as_ref())
            }
        };
        let file = match precision {
            Precision::F16 => f16.or(f32),
            Precision::F32 => f32,
        };
        file.map(String::as_str)
    }

    /// Hands `items` of one shape to `work`, as many at once as the provider gains from.
    pub(super) fn in_batches<I, O>(
        &self,
        provider: Provider,
        items: &[I],
        mut work: impl FnMut(&[I]) -> Result<Vec<O>, Failure>,
    ) -> Result<Vec<O>, Failure> {
        // A CPU gains nothing from a batch, and needs its memory.
        let most = match provider {
            Provider::Cpu => 1,
            _ => self
                .half
                .max_batch
                .map_or(MAX_BATCH, |most| (most as usize).clamp(1, MAX_BATCH)),
        };
        let mut outputs = Vec::with_capacity(items.len());
        let mut rest = items;
        while !rest.is_empty() {
            let taken = 1 << rest.len().min(most).ilog2();
            let (batch, after) = rest.split_at(taken);
            outputs.extend(work(batch)?);
            rest = after;
        }
        Ok(outputs)
    }
}

impl Hub {
    /// Does `work` wherever and in whatever precision it succeeds.
    pub(super) fn run<T>(
        &self,
        job: Job<'_>,
        work: impl FnMut(Attempt) -> Result<T, Failure>,
    ) -> Result<Done<T>> {
        self.runtime()?;
        let lost = |provider: Provider| {
            let lost = self.sessions.lost.lock();
            lost.unwrap_or_else(PoisonError::into_inner)
                .contains(&provider)
        };
        let wish = (self.options.provider, self.options.precision);
        let has_f16 = job.half.file_f16.is_some();
        first_success(&job.name(), wish, has_f16, |p| !lost(p), work)
    }

    /// Hands a session of one of the graphs of `job` to `work`.
    pub(super) fn with_session<R>(
        &self,
        job: Job<'_>,
        scope: Scope,
        attempt: Attempt,
        work: impl FnOnce(&mut Session) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let key = (job.spec.name.clone(), job.side, scope, attempt);
        let pool = {
            let pools = self.sessions.pools.lock();
            let mut pools = pools.unwrap_or_else(PoisonError::into_inner);
            let pool = pools
                .entry(key)
                .or_insert_with(|| Arc::new(Pool::new(self.options.sessions)));
            Arc::clone(pool)
        };
        let load = || {
            let loaded = self.load(job, scope, attempt);
            // A model that can't be loaded says nothing of the provider.
            let kind = loaded.as_ref().err().map(Error::kind);
            if kind == Some(ErrorKind::ProviderUnavailable) {
                let lost = self.sessions.lost.lock();
                lost.unwrap_or_else(PoisonError::into_inner)
                    .push(attempt.provider);
            }
            loaded
        };
        pool.with(load, work)?
    }

    pub(super) fn load(&self, job: Job<'_>, scope: Scope, attempt: Attempt) -> Result<Session> {
        let name = job.name();
        let options = SessionOptions {
            provider: attempt.provider,
            threads: self.options.threads,
        };
        let file = job.file(scope, attempt.precision);
        let file = file.ok_or_else(|| Error::invalid(format!("{name} has no graph for tiles")))?;
        if job.spec.is_built_in() {
            let bytes = builtin::file(&job.spec.name, file)
                .ok_or_else(|| Error::invalid(format!("{name} has no file {file}")))?;
            return Session::load(self.runtime()?, options, &name, &GraphAt::Memory(bytes));
        }
        let folder = self.models_folder().ok_or_else(|| {
            Error::new(
                ErrorKind::ModelNotFound,
                format!("{name} lies in no folder"),
            )
        })?;
        folder.check_sizes(job.spec)?;
        let path = folder.path_of(&job.spec.name).join(file);
        Session::load(self.runtime()?, options, &name, &GraphAt::File(&path))
    }
}
