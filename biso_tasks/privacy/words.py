"""Word lists for judging columns of German and English schemas: names of columns and tables, and
the common names of people. They raise suspicion; nothing is masked by list."""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "CODE_NAMES",
    "FAMILY_NAMES",
    "GIVEN_NAMES",
    "LOOKUP_TABLES",
    "PERSONAL_NAMES",
    "SETTINGS_TABLES",
    "TECHNICAL_DATES",
]

# What a column's name says, the first match counts. `strong`: said of persons only, so it counts
# in look-up tables as well.
PERSONAL_NAMES: Final[tuple[tuple[str, bool, re.Pattern[str]], ...]] = (
    ("mail", True, re.compile(r"e?_?mail")),
    ("phone", True, re.compile(
        r"tele?fon|(^|_)tel(_|$|nr)|handy|mobil|natel|phone|(^|_)fax|telefax")),
    ("identifier", True, re.compile(
        r"(^|_)ahv|sozialvers|svnr|(^|_)ssn|iban|konto|kreditkart|passnr|ausweis|zemis|versicher")),
    ("birth", True, re.compile(
        r"geb(urt|oren|_?dat|d$)|birth|(^|_)dob($|_)|todes|gestorben|death")),
    ("given", True, re.compile(r"vorname|rufname|first_?name|given_?name|forename|(^|_)fname")),
    ("family", True, re.compile(
        r"nachname|familienname|last_?name|surname|family_?name|geburtsname|ledigname|maiden|"
        r"(^|_)lname")),
    ("street", True, re.compile(
        r"stra(ss|ß)e|street|hausn|adress|address|wohnort|postfach|anschrift")),
    ("name", False, re.compile(
        r"(^|_)name|name($|_|[0-9])|benutzer|(^|_)user|login|autor|author|klient|person|kontakt|"
        r"mitarbeiter|betreff|titel|title|anrede_text|unterschrift|(^|_)firma|arbeitgeber|beruf")),
    ("place", False, re.compile(
        r"(^|_)plz|postleitz|zip|postal|(^|_)ort($|_)|wohnort|heimatort|geburtsort|gemeinde|city|town")),
    ("text", False, re.compile(
        r"noti[zc]|note|bemerk|text|protokoll|inhalt|kommentar|comment|beschreib|descr|memo|remark|"
        r"anliegen|verlauf|diagnos|anamnes|befund|body|message|nachricht|content|grund|log|detail")),
    ("file", False, re.compile(r"datei|file|pfad|path|anhang|attach|dokument")),
)  # fmt: skip

# Tables that hold what the software or its set-up says, not what people said.
SETTINGS_TABLES: Final = re.compile(
    r"params?|parameter|config(uration)?|konfiguration|einstellung(en)?|settings?|translations?|"
    r"uebersetzung(en)?|übersetzung(en)?|hilfe|help|hilfetexte?|help_?texts?|brief_?vorlagen?|"
    r"(text_?|mail_?)?vorlagen?|(text_?|mail_?)?templates?|textbausteine?|migrations?|"
    r"\w*_?migration_?versions?|schema_migrations|menus?|rechte?|rollen?|roles?|permissions?"
)

LOOKUP_TABLES: Final = re.compile(
    r"(\w*_)?(typ|type|art|arten|status|kategorien?|category|codes?|katalog|lookup|auswahl|liste|"
    r"länder|laender|land|country|countries|kantone?|sprachen?|languages?|nation(en)?|"
    r"orte?|plz|gemeinden?|waehrung|currency|geschlecht|anrede|zivilstand|konfession)"
)

CODE_NAMES: Final = re.compile(
    r"status|(^|_)typ|type|(^|_)art($|_)|code|kategorie|category|geschlecht|gender|sex|anrede|sprache|"
    r"lang|locale|zivilstand|kanton|land($|_)|nation|currency|waehrung|einheit|unit|prioritaet|stufe|"
    r"modul|tabelle|table|aktion|action|event|level|format|mime|version|kunde"
)

TECHNICAL_DATES: Final = re.compile(
    r"creat|updat|modif|delet|erstell|erfass|geaender|geänder|aender|änder|mutier|mutat|angelegt|"
    r"gelösch|geloesch|insert|chang|(^|_)(at|am|on|ts|zeit|von|bis|start|ende?|datum|date|beginn|"
    r"begin|zeitpunkt)($|_)|stamp|stempel|login|gueltig|gültig|valid|expire|ablauf|faellig|fällig|"
    r"due|termin|eintritt|austritt|eroeffn|eröffn|abschl|versand|gesendet|sent|import|export|"
    r"ausgefuehrt|executed|applied|jahr|monat|periode|buchung|rechnung"
)

_GIVEN: Final = """
    adrian agnes alain albert alessandro alexander alexandra alfred ali alice alina amelie ana
    andrea andreas angela anita anja anna anne annemarie antonio armin arthur astrid barbara beat
    beatrice beatrix ben benjamin bernadette bernd bernhard bettina bianca birgit brigitte bruno
    carla carlo carmen caroline christian christina christine christoph claudia claudio clemens
    cornelia daniel daniela david denise dennis diana dieter dominik dominique doris dorothea edith
    eduard elena elias elisa elisabeth ella elsbeth emil emilia emma erich erika ernst erwin esther
    eva evelyn fabian fabienne fatima felix ferdinand finn florian franz franziska fritz gabriel
    gabriela georg gerda gerhard gertrud gisela giulia giuseppe gregor guido gustav hanna hannah
    hans hansjörg hanspeter harald heidi heike heinrich heinz helena helga helmut herbert hermann
    hildegard horst hubert hugo ida ingrid irene iris isabel isabella jakob jana janine jasmin
    jean jennifer jessica joachim johann johanna johannes jonas josef joseph judith julia julian
    jürg jürgen jörg karin karl karoline katharina kathrin katja katrin klara klaus konrad kristina
    kurt lara larissa laura lea lena leo leon leonie liam lina linda lisa livia lorenz louis luca
    lukas lydia maja manfred manuel manuela marc marcel marco margrit maria marianne marie marina
    mario marion markus marlies martha martin martina matthias max maya melanie mia michael michaela
    michel michelle mila milena miriam mirjam mohamed monika moritz nadia nadine natalie nathalie
    nele nicolas nicole niklas nina noah noemi norbert oliver olivia oskar otto pascal patricia
    patrick patrik paul paula peter petra philipp pia priska rahel ralf ralph ramona raphael regina
    regula reinhard renate rené reto richard rita robert robin roger roland rolf roman rosa rosmarie
    rudolf ruth sabine sabrina samuel sandra sandro sara sarah sebastian silvan silvia simon simone
    sina sofia sonja sophia sophie stefan stefanie stephan susanne sven sybille sylvia tamara tanja
    theresa therese thomas tim timo tobias ulrich ulrike urs ursula ute valentin valentina vanessa
    vera verena veronika viktor viktoria vincent walter werner wilhelm willi wolfgang xaver yannick
    yvonne zoe özlem mehmet ayşe mustafa
"""


_FAMILY: Final = """
    ackermann aebi ammann arnold bachmann baumann baumgartner becker berger bernasconi bieri bischof
    blaser braun brunner bucher bächler bühler bühlmann bürki christen eggenberger egger egli
    eichenberger fankhauser fischer flückiger frei frey fuchs furrer gasser geiger gerber giger graf
    grob gruber gut haas hartmann hauser heiniger herzog hess hofer hoffmann hofmann hofstetter
    huber hug hunziker imhof jenni jäger kaiser kaufmann keller kessler klein koch kohler krähenbühl
    kunz käser küng lang lehmann leu leuenberger liechti lutz lüscher lüthi marti martin maurer
    meier meister meyer mohler moser mueller müller nguyen niederberger nyffeler odermatt ott
    peter pfister portmann rohrer rossi roth ryser röthlisberger rüegg sommer schaub scherrer
    schenk schläpfer schmid schmidt schmitt schneider schnyder schubert schulz schumacher schwab
    schwarz schweizer schär schärer schönenberger senn siegenthaler sieber sigrist spahr stalder
    stauffer steffen steiner stettler stocker studer stöckli suter sutter tanner thommen tobler
    trachsel vogel vogt wagner walther weber wegmann wehrli weibel weiss wenger werner widmer wiget
    winkler wirth wolf wyss zaugg zbinden zehnder ziegler zimmermann zumstein zürcher öztürk
    yilmaz silva santos ferreira pereira krasniqi gashi berisha hoxha petrovic jovanovic nikolic
"""

GIVEN_NAMES: Final = frozenset(_GIVEN.split())
FAMILY_NAMES: Final = frozenset(_FAMILY.split())
