//! Operations on dead letters: list, count and redrive those that a filter means.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use order_core::{
    OrderService,
    domain::{OrderId, TimeRange},
    queue::{DeadFilter, DeadGroup, DeadPlace, DeadQuery, Topic},
    service::DeadEntry,
};
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    operate_body::{TopicBody, TopicName},
    tag::Tag,
    wire::Time,
};
use crate::{
    auth::{Inspect, Operate},
    http::{json::Json, object::read_from_objects, problem::Problem},
};

/// The most groups of an answer.
const GROUPS: usize = 20;
/// The most orders that are named by one request.
const MAX_NAMED: usize = 1_000;

/// An entry that was given up.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "DeadLetter")]
struct DeadBody {
    topic: TopicName,
    order_id: Uuid,
    /// The reason for giving up.
    reason: String,
    /// Number of attempts.
    attempts: u32,
    dead_at: Time,
}

impl From<DeadEntry> for DeadBody {
    fn from(DeadEntry { topic, letter }: DeadEntry) -> Self {
        Self {
            topic: topic.into(),
            order_id: letter.order_id.0,
            reason: letter.reason,
            attempts: letter.attempts,
            dead_at: letter.dead_at,
        }
    }
}

/// The dead letters with one reason.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "DeadLetterGroup")]
struct GroupBody {
    reason: String,
    count: u64,
    /// The time at which the latest of them was given up.
    latest: Time,
}

impl From<DeadGroup> for GroupBody {
    fn from(group: DeadGroup) -> Self {
        Self {
            reason: group.reason,
            count: group.count,
            latest: group.latest,
        }
    }
}

/// A page of dead letters, the latest first.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "DeadLetters")]
struct DeadList {
    items: Vec<DeadBody>,
    /// Cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
    /// How many match in all; `null` on further pages.
    total: Option<u64>,
    /// `true` if only the latest 100000 were counted.
    capped: bool,
    /// Number of different reasons; `null` on further pages.
    reasons: Option<u64>,
    /// The most frequent reasons, at most 20; empty on further pages.
    groups: Vec<GroupBody>,
}

/// The dead letters to redrive: all that match. One that names nothing means all of the topic.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, remote = "Self")]
#[oai(deny_unknown_fields, rename = "Redrive")]
struct RedriveBody {
    /// Topic of the dead letters; `process` unless given.
    topic: Option<TopicName>,
    /// Only those of these orders, at most 1000; excludes the other filters.
    #[oai(validator(max_items = 1000))]
    order_ids: Option<Vec<Uuid>>,
    /// Only those whose reason contains this text, ASCII letters in either case.
    reason: Option<String>,
    /// Only those that were given up at this time or later.
    since: Option<Time>,
    /// Only those that were given up before this time.
    until: Option<Time>,
}

read_from_objects!(RedriveBody);

/// The outcome of a redrive.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Redriven")]
struct RedrivenBody {
    /// Number of dead letters that were put back on the queue.
    redriven: u64,
}

/// The operations on dead letters.
pub struct DeadLetters {
    service: OrderService,
}

impl DeadLetters {
    pub(super) fn new(service: OrderService) -> Self {
        Self { service }
    }
}

fn filter(reason: Option<String>, from: Option<Time>, until: Option<Time>) -> DeadFilter {
    DeadFilter {
        reason: reason.filter(|reason| !reason.is_empty()),
        given_up: TimeRange { from, until },
    }
}

/// The place of the last letter of a page.
fn encode((at, order): DeadPlace) -> String {
    let mut bytes = at.timestamp_micros().to_be_bytes().to_vec();
    bytes.extend(order.0.as_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(cursor: &str) -> Option<DeadPlace> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (place, checksum) = bytes.split_at_checked(24)?;
    if checksum != crc32fast::hash(place).to_be_bytes() {
        return None;
    }
    let (at, order) = place.split_first_chunk::<8>()?;
    let at = DateTime::from_timestamp_micros(i64::from_be_bytes(*at))?;
    Some((at, OrderId(Uuid::from_slice(order).ok()?)))
}

#[OpenApi(tag = "Tag::Operations")]
impl DeadLetters {
    /// List dead letters, the latest first, and count them by reason
    #[oai(path = "/queue/dead", method = "get", operation_id = "listDeadLetters")]
    #[allow(clippy::too_many_arguments)] // Each is a parameter of the query.
    async fn list(
        &self,
        _caller: Inspect,
        /// Topic of the dead letters; `process` unless given
        topic: Query<Option<TopicName>>,
        /// Only those whose reason contains this text, ASCII letters in either case
        reason: Query<Option<String>>,
        /// Only those that were given up at this time or later
        since: Query<Option<Time>>,
        /// Only those that were given up before this time
        until: Query<Option<Time>>,
        /// The `next_cursor` of the previous page
        cursor: Query<Option<String>>,
        /// Maximum number of items to return; 100 unless given
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u16>>,
    ) -> Result<Json<DeadList>, Problem> {
        let topic: Topic = topic.0.unwrap_or(TopicName::Process).into();
        let after = cursor.0.as_deref().map(|cursor| {
            decode(cursor)
                .ok_or_else(|| Problem::malformed("cursor is not one that this server gave"))
        });
        let query = DeadQuery {
            filter: filter(reason.0, since.0, until.0),
            after: after.transpose()?,
            limit: usize::from(limit.0.unwrap_or(100)),
        };
        let letters = self.service.dead_letters(topic, &query).await?;
        let last = letters.last().filter(|_| letters.len() == query.limit);
        let next_cursor = last.map(|last| encode(last.letter.place()));
        let summary = match query.after {
            None => Some(
                self.service
                    .dead_summary(topic, &query.filter, GROUPS)
                    .await?,
            ),
            Some(_) => None,
        };
        Ok(Json(DeadList {
            items: letters.into_iter().map(Into::into).collect(),
            next_cursor,
            total: summary.as_ref().map(|summary| summary.count),
            capped: summary.as_ref().is_some_and(|summary| summary.capped),
            reasons: summary.as_ref().map(|summary| summary.reasons),
            groups: summary.map_or_else(Vec::new, |summary| {
                summary.groups.into_iter().map(Into::into).collect()
            }),
        }))
    }

    /// Put all dead letters that match back on the queue, as if they had never been tried
    #[oai(
        path = "/queue/dead/redrive",
        method = "post",
        operation_id = "redriveDeadLetters"
    )]
    async fn redrive_matching(
        &self,
        _caller: Operate,
        body: Json<RedriveBody>,
    ) -> Result<Json<RedrivenBody>, Problem> {
        let body = body.0;
        let topic = body.topic.unwrap_or(TopicName::Process).into();
        let filter = filter(body.reason, body.since, body.until);
        let redriven = match body.order_ids {
            None => self.service.redrive_matching(topic, &filter).await?,
            Some(_) if filter != DeadFilter::default() => {
                return Err(Problem::invalid(
                    "order_ids",
                    "and filters exclude each other",
                ));
            }
            Some(ids) if ids.len() > MAX_NAMED => {
                return Err(Problem::invalid("order_ids", "must be at most 1000"));
            }
            Some(ids) => {
                let orders: Vec<OrderId> = ids.into_iter().map(OrderId).collect();
                self.service.redrive(topic, &orders).await?
            }
        };
        Ok(Json(RedrivenBody {
            redriven: redriven as u64,
        }))
    }

    /// Put a dead letter back on the queue, as if it had never been tried
    #[oai(
        path = "/queue/dead/:id/redrive",
        method = "post",
        operation_id = "redriveDeadLetter"
    )]
    async fn redrive(
        &self,
        _caller: Operate,
        /// The order
        id: Path<Uuid>,
        /// Topic of the dead letters; `process` unless given
        topic: Query<Option<TopicName>>,
    ) -> Result<Json<TopicBody>, Problem> {
        let topic = topic.0.unwrap_or(TopicName::Process).into();
        if self.service.redrive(topic, &[OrderId(id.0)]).await? == 0 {
            return Err(Problem::dead_letter_not_found(id.0));
        }
        Ok(Json(self.service.topic_stats(topic).await?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_a_changed_one_does_not() {
        let at = DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap();
        let place = (at, OrderId(Uuid::from_u128(7)));
        let cursor = encode(place);
        assert_eq!(decode(&cursor), Some(place));
        for bad in ["", "x", &cursor[1..], "!!!", &cursor.replace('A', "B")] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
