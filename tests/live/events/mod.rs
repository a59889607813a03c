//! Events: what is published of jobs and entries, to whom, in which order, and when nothing is.

mod channels;
mod entries;
mod inbox;
mod jobs;
mod listener;
mod many;
mod switch;
