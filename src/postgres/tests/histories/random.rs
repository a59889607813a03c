//! Random statements over the shop: joins of each sort, blocks of each sort, conditions of each sort.

use super::shop::Dice;

/// Tables and views with their columns; the letter says what is compared with what.
const TABLES: [(&str, &[(&str, char)]); 8] = [
    ("category", &[("id", 'i'), ("name", 't'), ("parent_id", 'i'), ("hits", 'i')]),
    ("product", &[("id", 'i'), ("category_id", 'i'), ("name", 't'), ("price", 'n'), ("featured", 'b'), ("seen", 'i')]),
    ("tag", &[("id", 'i'), ("name", 't')]),
    ("author", &[("id", 'i'), ("name", 't'), ("active", 'b')]),
    ("review", &[("id", 'i'), ("product_id", 'i'), ("author_id", 'i'), ("stars", 'i'), ("body", 't')]),
    ("product_tag", &[("product_id", 'i'), ("tag_id", 'i'), ("weight", 'i')]),
    ("listed", &[("id", 'i'), ("name", 't'), ("price", 'n'), ("seen", 'i'), ("category", 't')]),
    ("rated", &[("product_id", 'i'), ("n", 'i')]),
];

/// What may follow from what: a column of the first and one of the second, equal where they are joined as people do.
const KEYS: [(&str, &str, &str, &str); 8] = [
    ("product", "category_id", "category", "id"),
    ("category", "parent_id", "category", "id"),
    ("review", "product_id", "product", "id"),
    ("review", "author_id", "author", "id"),
    ("product_tag", "product_id", "product", "id"),
    ("product_tag", "tag_id", "tag", "id"),
    ("rated", "product_id", "product", "id"),
    ("review", "product_id", "product_tag", "product_id"),
];

/// Something in a FROM: its alias, the table whose columns it has (empty: its own), and those.
#[derive(Clone)]
struct Item {
    alias: String,
    table: &'static str,
    columns: Vec<(String, char)>,
}

struct Maker<'d> {
    dice: &'d mut Dice,
    aliases: usize,
    depth: usize,
}

pub(super) fn statement(dice: &mut Dice) -> String {
    let mut maker = Maker { dice, aliases: 0, depth: 0 };
    maker.select(&[]).0
}

impl Maker<'_> {
    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("a{}", self.aliases)
    }

    /// A SELECT, and the names and letters of its columns; `outer`: what it may name around it.
    fn select(&mut self, outer: &[Item]) -> (String, Vec<(String, char)>) {
        self.depth += 1;
        let (from, items) = self.from();
        let mut terms: Vec<String> = (0..self.dice.below(3)).map(|_| self.term(&items, outer)).collect();
        if !outer.is_empty() && self.dice.is(85) {
            let other = self.dice.pick(outer).clone();
            terms.push(self.link(&items[0], &other));
        }
        let filter = if terms.is_empty() { String::new() } else { format!(" where {}", terms.join(" and ")) };
        let mut targets: Vec<(String, char)> = Vec::new();
        for _ in 0..=self.dice.below(2) {
            let item = self.dice.pick(&items).clone();
            let (column, letter) = self.dice.pick(&item.columns).clone();
            targets.push((format!("{}.{column}", item.alias), letter));
        }
        let kind = self.dice.below(100);
        let mut tail = String::new();
        let mut distinct = String::new();
        let all =
            |targets: &[(String, char)]| (1..=targets.len()).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
        if kind < 12 {
            tail = format!(" group by {}", all(&targets));
            targets
                .push((if self.dice.is(50) { "count(*)".to_owned() } else { format!("max({})", targets[0].0) }, 'x'));
            if self.dice.is(30) {
                tail.push_str(" having count(*) > 1");
            }
        } else if kind < 18 {
            distinct = "distinct ".to_owned();
        } else if kind < 23 {
            distinct = format!("distinct on ({}) ", targets[0].0);
            tail = format!(" order by {}", all(&targets));
        } else if kind < 30 {
            let by = targets[0].0.clone();
            targets.push((format!("rank() over (partition by {by} order by {})", targets[targets.len() - 1].0), 'x'));
        } else if self.depth == 1 && kind < 55 {
            let scalar = self.scalar(&items);
            targets.push((scalar, 'x'));
        }
        if !tail.contains("order by") && self.dice.is(30) {
            let descending = if self.dice.is(40) { " desc" } else { "" };
            let order = (1..=targets.len()).map(|i| format!("{i}{}", if i == 1 { descending } else { "" }));
            let offset = if self.dice.is(25) { " offset 2" } else { "" };
            tail = format!(
                "{tail} order by {} limit {}{offset}",
                order.collect::<Vec<_>>().join(", "),
                self.dice.below(6) + 1
            );
        }
        let names: Vec<(String, char)> =
            targets.iter().enumerate().map(|(i, (_, letter))| (format!("c{i}"), *letter)).collect();
        let shown: Vec<String> =
            targets.iter().zip(&names).map(|((sql, _), (name, _))| format!("{sql} as {name}")).collect();
        self.depth -= 1;
        (format!("select {distinct}{} from {from}{filter}{tail}", shown.join(", ")), names)
    }

    fn from(&mut self) -> (String, Vec<Item>) {
        let (mut sql, first) = self.item();
        let mut items = vec![first];
        for _ in 0..self.dice.below(3) {
            let (joined, item) = self.item();
            let other = self.dice.pick(&items).clone();
            let mut on = self.link(&item, &other);
            let kind = *self.dice.pick(&["join", "join", "left join", "left join", "right join", "full join"]);
            if kind != "full join" && self.dice.is(25) {
                let both = [item.clone(), other];
                on = format!("{on} and {}", self.plain_term(&both));
            }
            sql = format!("{sql} {kind} {joined} on {on}");
            items.push(item);
        }
        (sql, items)
    }

    fn item(&mut self) -> (String, Item) {
        let alias = self.alias();
        if self.depth < 3 && self.dice.is(18) {
            let (mut sql, columns) = self.select(&[]);
            if self.dice.is(20) && columns.iter().all(|(_, letter)| *letter == 'i') {
                let operation = *self.dice.pick(&["union", "union all", "except", "intersect"]);
                let other = columns.iter().map(|(name, _)| format!("id as {name}")).collect::<Vec<_>>().join(", ");
                sql = format!("({sql}) {operation} select {other} from tag");
            }
            return (format!("({sql}) {alias}"), Item { alias, table: "", columns });
        }
        let (table, columns) = *self.dice.pick(&TABLES);
        let columns = columns.iter().map(|(name, letter)| ((*name).to_owned(), *letter)).collect();
        (format!("{table} {alias}"), Item { alias, table, columns })
    }

    /// An equality of two items: as their keys go, or of any two numbers.
    fn link(&mut self, item: &Item, other: &Item) -> String {
        for (table, column, parent, key) in KEYS {
            if (item.table, other.table) == (table, parent) {
                return format!("{}.{column} = {}.{key}", item.alias, other.alias);
            }
            if (other.table, item.table) == (table, parent) {
                return format!("{}.{key} = {}.{column}", item.alias, other.alias);
            }
        }
        match (self.column(std::slice::from_ref(item), 'i'), self.column(std::slice::from_ref(other), 'i')) {
            (Some(own), Some(others)) => format!("{own} = {others}"),
            _ => "true".to_owned(),
        }
    }

    fn column(&mut self, items: &[Item], letter: char) -> Option<String> {
        let columns = items.iter().flat_map(|item| item.columns.iter().map(move |column| (item, column)));
        let columns: Vec<String> = columns
            .filter(|(_, (_, own))| *own == letter)
            .map(|(item, (name, _))| format!("{}.{name}", item.alias))
            .collect();
        (!columns.is_empty()).then(|| self.dice.pick(&columns).clone())
    }

    fn plain_term(&mut self, items: &[Item]) -> String {
        let letter = *self.dice.pick(&['i', 'i', 'i', 't', 'n', 'b']);
        let Some(column) = self.column(items, letter) else { return "true".to_owned() };
        let number = self.dice.below(9) + 1;
        let name = *self.dice.pick(&["red", "blue", "green", "old", "new"]);
        let value = match letter {
            't' => format!("'{name}'"),
            'i' if self.dice.is(40) => "$1::int".to_owned(),
            _ => number.to_string(),
        };
        if letter == 'b' {
            return self.dice.pick(&["", "not "]).to_string() + &column;
        }
        match self.dice.below(10) {
            0 => format!("{column} is null"),
            1 => format!("{column} is not null"),
            2 => format!("{column} in ({value}, {})", if letter == 't' { "'red'".to_owned() } else { "3".to_owned() }),
            3 => format!("{column} is distinct from {value}"),
            4 => format!("coalesce({column}, {value}) = {value}"),
            5 => format!("{column} <> {value}"),
            6 if letter == 'i' => format!("{column} between 2 and {number}"),
            7 => format!("{column} <> all (array[{value}])"),
            _ if letter == 't' => format!("{column} = {value}"),
            _ => format!("{column} {} {value}", self.dice.pick(&["=", "=", "<=", ">", "<"])),
        }
    }

    fn term(&mut self, items: &[Item], outer: &[Item]) -> String {
        let mut all = items.to_vec();
        all.extend(outer.iter().cloned());
        let plain = |maker: &mut Self| maker.plain_term(items);
        match self.dice.below(if self.depth < 3 { 14 } else { 8 }) {
            0 => format!("({} or {})", plain(self), plain(self)),
            1 => format!("not ({} and {})", plain(self), plain(self)),
            2 => format!("({} or ({} and {}))", plain(self), plain(self), plain(self)),
            3 => match (self.column(items, 'i'), self.column(&all, 'i')) {
                (Some(one), Some(other)) => format!("{one} {} {other}", self.dice.pick(&["=", "<", "<>"])),
                _ => "true".to_owned(),
            },
            8 => format!("exists ({})", self.select(&all).0),
            9 => format!("not exists ({})", self.select(&all).0),
            10 | 11 => match self.column(items, 'i') {
                Some(column) => {
                    let not = if self.dice.is(30) { "not " } else { "" };
                    let (inner, columns) = self.select(&all);
                    let inner_alias = self.alias();
                    match columns.iter().find(|(_, letter)| *letter == 'i') {
                        Some((name, _)) => {
                            format!("{column} {not}in (select {inner_alias}.{name} from ({inner}) {inner_alias})")
                        }
                        None => format!("exists ({inner})"),
                    }
                }
                None => "true".to_owned(),
            },
            12 => format!("{} {}", self.scalar(&all), self.dice.pick(&["is null", "is not null", ">= 2", "= 0"])),
            _ => plain(self),
        }
    }

    /// A subselect of one row and column.
    fn scalar(&mut self, outer: &[Item]) -> String {
        let alias = self.alias();
        let (table, columns) = *self.dice.pick(&TABLES);
        let columns: Vec<_> = columns.iter().map(|(name, letter)| ((*name).to_owned(), *letter)).collect();
        let item = Item { alias: alias.clone(), table, columns };
        let other = self.dice.pick(outer).clone();
        let link = self.link(&item, &other);
        let column = self.column(std::slice::from_ref(&item), 'i').expect("each has a number");
        let extra = if self.dice.is(40) {
            format!(" and {}", self.plain_term(std::slice::from_ref(&item)))
        } else {
            String::new()
        };
        match self.dice.below(3) {
            0 => format!("(select count(*) from {table} {alias} where {link}{extra})"),
            1 => format!("(select max({column}) from {table} {alias} where {link}{extra})"),
            _ => format!("(select {column} from {table} {alias} where {link}{extra} order by 1 limit 1)"),
        }
    }
}
