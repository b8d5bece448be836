//! avahi's static service files. Format: avahi.service(5), avahi-service.dtd: a file is one group, and a group has one
//! name for all its services.

use crate::model::advert::{Advert, DeclaredBy};

/// Stands in every file that we wrote.
pub const MARK: &str = "<!-- written by cloudbox: changes are lost -->";

const HEAD: &str =
    "<?xml version=\"1.0\" standalone='no'?>\n<!DOCTYPE service-group SYSTEM \"avahi-service.dtd\">\n";

/// The text of the file of `adverts`, which have one name.
pub fn render(adverts: &[&Advert]) -> String {
    let mut text = format!("{HEAD}{MARK}\n<service-group>\n");
    if let Some(advert) = adverts.first() {
        element(&mut text, "  <name>", advert.name(), "</name>\n");
    }
    for advert in adverts {
        let service = &advert.service;
        element(&mut text, "  <service protocol=\"", advert.family().as_str(), "\">\n");
        element(&mut text, "    <type>", &service.kind, "</type>\n");
        // The box's own host name is avahi's to say: it may have had to choose another one.
        if advert.source != DeclaredBy::Box {
            element(&mut text, "    <host-name>", &advert.host, ".local</host-name>\n");
        }
        element(&mut text, "    <port>", &service.port.to_string(), "</port>\n");
        for record in &service.txt {
            element(&mut text, "    <txt-record>", record, "</txt-record>\n");
        }
        text.push_str("  </service>\n");
    }
    text.push_str("</service-group>\n");
    text
}

fn element(text: &mut String, before: &str, content: &str, after: &str) {
    text.push_str(before);
    for c in content.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            _ => text.push(c),
        }
    }
    text.push_str(after);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::service::{Family, Service};

    #[test]
    fn a_file_is_valid_whatever_the_names_contain() {
        let service = Service {
            name: Some("a <b> & \"ç\" ]]> %h".into()),
            kind: "_http._tcp".into(),
            port: 80,
            txt: vec!["path=/?a=1&b=<2>".into()],
            family: Family::Ipv4,
            check: true,
        };
        let advert = Advert {
            id: "s".into(),
            container: None,
            service,
            source: DeclaredBy::Config,
            host: "web-alpha".into(),
            addresses: Vec::new(),
            withheld: None,
        };
        let text = render(&[&advert]);
        assert_eq!(
            text,
            "<?xml version=\"1.0\" standalone='no'?>\n\
             <!DOCTYPE service-group SYSTEM \"avahi-service.dtd\">\n\
             <!-- written by cloudbox: changes are lost -->\n\
             <service-group>\n\
             \x20 <name>a &lt;b&gt; &amp; &quot;ç&quot; ]]&gt; %h</name>\n\
             \x20 <service protocol=\"ipv4\">\n\
             \x20   <type>_http._tcp</type>\n\
             \x20   <host-name>web-alpha.local</host-name>\n\
             \x20   <port>80</port>\n\
             \x20   <txt-record>path=/?a=1&amp;b=&lt;2&gt;</txt-record>\n\
             \x20 </service>\n\
             </service-group>\n"
        );
    }
}
