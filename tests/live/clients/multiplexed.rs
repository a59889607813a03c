//! redis-rs: one connection that is shared, on tokio. A cluster client sends what has no key where it is told.

use std::sync::Arc;
use std::thread::JoinHandle;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo};
use redis::{AsyncConnectionConfig, Cmd, IntoConnectionInfo, ProtocolVersion, RedisError, Value};
use tokio::runtime::{Builder, Runtime};

use super::client::{Client, Protocol};
use super::site::Site;
use crate::support::Reply;

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

pub struct Multiplexed {
    protocol: Protocol,
    runtime: Arc<Runtime>,
    connection: Connection,
    under_way: Option<JoinHandle<Result<Value, RedisError>>>,
}

impl Multiplexed {
    pub fn new(site: &Site, protocol: Protocol) -> Multiplexed {
        let runtime = runtime();
        let info = ("127.0.0.1", site.port()).into_connection_info().expect("an address");
        let info = info.clone().set_redis_settings(info.redis_settings().clone().set_protocol(version(protocol)));
        let client = redis::Client::open(info).expect("a client");
        // By default it waits for half a second.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connection =
            runtime.block_on(client.get_multiplexed_async_connection_with_config(&config)).expect("a connection");
        Multiplexed { protocol, runtime, connection: Connection::One(connection), under_way: None }
    }

    pub fn of_cluster(site: &Site, protocol: Protocol) -> Multiplexed {
        let runtime = runtime();
        let builder = ClusterClientBuilder::new([("127.0.0.1", site.port())]).use_protocol(version(protocol));
        let client = builder.response_timeout(std::time::Duration::from_secs(30)).build().expect("a client");
        let connection = runtime.block_on(client.get_async_connection()).expect("a connection");
        Multiplexed { protocol, runtime, connection: Connection::Cluster(connection), under_way: None }
    }
}

fn runtime() -> Arc<Runtime> {
    Arc::new(Builder::new_current_thread().enable_all().build().expect("a runtime"))
}

fn version(protocol: Protocol) -> ProtocolVersion {
    match protocol {
        Protocol::Resp2 => ProtocolVersion::RESP2,
        Protocol::Resp3 => ProtocolVersion::RESP3,
    }
}

/// Where a command without a key goes. By itself the client would take its first word for a key.
fn routing(name: &[u8]) -> Option<RoutingInfo> {
    match name {
        b"BEAR.CATALOG" | b"BEAR.FEED" => Some(RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random)),
        b"BEAR.RELOAD" => {
            Some(RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllNodes, Some(ResponsePolicy::AllSucceeded))))
        }
        b"BEAR.ADOPT" => {
            Some(RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, Some(ResponsePolicy::AllSucceeded))))
        }
        _ => None,
    }
}

impl Client for Multiplexed {
    fn name(&self) -> String {
        let kind = match self.connection {
            Connection::One(_) => "multiplexed",
            Connection::Cluster(_) => "cluster",
        };
        format!("redis-rs {kind} {}", self.protocol.number())
    }

    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn begin(&mut self, words: &[Vec<u8>]) {
        let mut cmd = Cmd::new();
        for word in words {
            cmd.arg(word);
        }
        let routing = routing(&words[0]);
        let (runtime, connection) = (self.runtime.clone(), self.connection.clone());
        self.under_way = Some(std::thread::spawn(move || {
            runtime.block_on(async {
                match connection {
                    Connection::One(mut one) => one.req_packed_command(&cmd).await,
                    Connection::Cluster(mut cluster) => match routing {
                        Some(routing) => cluster.route_command(cmd, routing).await,
                        None => cluster.req_packed_command(&cmd).await,
                    },
                }
            })
        }));
    }

    fn finish(&mut self) -> Reply {
        let said = self.under_way.take().expect("it was begun").join().expect("no panic");
        match said {
            Ok(value) => reply(value),
            Err(error) => {
                Reply::Error(format!("{} {}", error.code().unwrap_or("-"), error.detail().unwrap_or_default()))
            }
        }
    }
}

fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bulk(bytes),
        Value::SimpleString(text) => Reply::Simple(text),
        Value::Okay => Reply::Simple("OK".into()),
        Value::Array(items) => Reply::Array(items.into_iter().map(reply).collect()),
        Value::Map(pairs) => Reply::Map(pairs.into_iter().map(|(name, value)| (reply(name), reply(value))).collect()),
        Value::Double(number) => Reply::Double(number),
        Value::Boolean(value) => Reply::Bool(value),
        Value::ServerError(error) => Reply::Error(format!("{} {}", error.code(), error.details().unwrap_or_default())),
        other => panic!("{other:?} is nothing that bear replies"),
    }
}
