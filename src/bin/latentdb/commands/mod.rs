//! The commands, one file each: its arguments, and one function that carries them out.

mod backup;
mod bench_codec;
mod compact;
mod compare;
mod completions;
mod doctor;
mod export;
mod get;
mod import;
mod info;
mod ingest;
mod init;
mod ls;
mod metrics;
mod migrate;
mod model;
mod put;
mod recode;
mod reencode;
mod repair;
mod rm;
mod runtime;
mod stats;
mod verify;

use clap::Subcommand;

use crate::args::Args;
use crate::context::Context;
use crate::report::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Init),
    Put(put::Put),
    Ingest(ingest::Ingest),
    Reencode(reencode::Reencode),
    Recode(recode::Recode),
    Get(get::Get),
    Ls(ls::Ls),
    Info(info::Info),
    Rm(rm::Rm),
    Export(export::Export),
    Import(import::Import),
    Stats(stats::Stats),
    Metrics(metrics::Metrics),
    Compare(compare::Compare),
    BenchCodec(bench_codec::BenchCodec),
    Compact(compact::Compact),
    Migrate(migrate::Migrate),
    Verify(verify::Verify),
    Repair(repair::Repair),
    Backup(backup::Backup),
    Doctor(doctor::Doctor),
    Model(model::Model),
    Runtime(runtime::Runtime),
    Completions(completions::Completions),
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let context = Context::new(args.global);
    match args.command {
        Command::Init(command) => init::run(&context, &command),
        Command::Put(command) => put::run(&context, &command),
        Command::Recode(command) => recode::run(&context, &command),
        Command::Reencode(command) => reencode::run(&context, &command),
        Command::Ingest(command) => ingest::run(&context, &command),
        Command::Get(command) => get::run(&context, &command),
        Command::Ls(command) => ls::run(&context, &command),
        Command::Info(command) => info::run(&context, &command),
        Command::Rm(command) => rm::run(&context, &command),
        Command::Export(command) => export::run(&context, &command),
        Command::Import(command) => import::run(&context, &command),
        Command::Stats(command) => stats::run(&context, &command),
        Command::Metrics(command) => metrics::run(&command),
        Command::Compare(command) => compare::run(&context, &command),
        Command::BenchCodec(command) => bench_codec::run(&context, &command),
        Command::Compact(command) => compact::run(&context, &command),
        Command::Migrate(command) => migrate::run(&context, &command),
        Command::Verify(command) => verify::run(&context, &command),
        Command::Repair(command) => repair::run(&context, &command),
        Command::Backup(command) => backup::run(&context, &command),
        Command::Doctor(command) => doctor::run(&context, &command),
        Command::Model(command) => model::run(&context, &command),
        Command::Runtime(command) => runtime::run(&command),
        Command::Completions(command) => completions::run(&command),
    }
}
