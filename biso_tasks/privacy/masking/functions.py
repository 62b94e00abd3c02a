"""SQL functions of one session (pg_temp) that turn a text into one that is nobody's, of the same
format and length class. Keyed: `k` makes the same original the same pseudonym in every table of one
run, and another one in every other run. Names are mapped word by word, so that a full name in one
column matches the given and the family name in two others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from biso_tasks.privacy.detect import FILLER, NOTHING
from biso_tasks.privacy.paths import HARMLESS, STEP
from biso_tasks.privacy.sqltext import execute, query, settle

if TYPE_CHECKING:
    import psycopg

__all__ = ["RULES", "create_functions"]

# The function a rule (`classify.Kind`) begins with; each hands on what is not of its form.
RULES: Final = {
    "mail": "biso_mail", "phone": "biso_phone", "given": "biso_name", "family": "biso_name",
    "name": "biso_name", "text": "biso_text",
}  # fmt: skip

_SYLLABLES: Final = "".join(c + a for c in "bdfghklmnprstvwz" for a in "aeiouaeiouaeioua")
# Runs of ASCII letters and of anything beyond ASCII, whatever the locale takes for a letter.
_WORD: Final = r"[^[:space:]!-@\[-`{-~]+"
# Particles and titles: no names.
_KEPT: Final = "von van de der den di du da zu zur le la dr prof med herr frau und jun sen"
_ACCENTS: Final = ("àáâãåçćčèéêëěìíîïłñńňòóôõøřšśùúûůýÿžźżđğışțș",
                   "aaaaaccceeeeeiiiilnnnooooorssuuuuyyzzzdgists")  # fmt: skip

_FOLD_UTF8: Final = (
    "replace(replace(replace(replace(translate(f, "
    f"'{_ACCENTS[0]}', '{_ACCENTS[1]}'), 'ä', 'ae'), 'ö', 'oe'), 'ü', 'ue'), 'ß', 'ss')"
)

_HEAD: Final = "LANGUAGE plpgsql IMMUTABLE AS"


def _hash(value: str) -> str:
    return f"encode(sha256(convert_to(k || {value}, 'UTF8')), 'hex')"


_WHOLE: Final = _hash("lower(btrim(v))")
_ARGS: Final = "(v text, k text, n int, u int, w text[])"

# u: 0 need not be unique, 1 must be, 2 must be and two pseudonyms were the same: as unlike as can
# be. n: the most characters that fit. w: words that stand for persons as keys of documents.


def _functions(fold: str) -> tuple[str, ...]:
    pairs = " || ".join(
        f"substring('{_SYLLABLES}'::bytea FROM 1 + 2 * get_byte(h, {at}) FOR 2)" for at in range(8)
    )
    nothing = ", ".join(f"'{word}'" for word in NOTHING.split())
    empty = (
        f"IF length(btrim(v)) < 2 OR u = 0 AND (lower(btrim(v)) IN ({nothing}) "
        "OR v ~ '^[-./_*?~ ]+$') THEN RETURN v; END IF;"
    )
    kept = ", ".join(f"'{word}'" for word in _KEPT.split(" "))
    kinds = " ".join(
        f"WHEN said = '{kind}' THEN pg_temp.{function}(j #>> '{{}}', k, 1000000, 0, w)"
        for kind, function in RULES.items()
    )
    return (
        # A word: letters in pairs of consonant and vowel, in the case of the original.
        f"""biso_word(w text, k text) RETURNS text {_HEAD} $$
DECLARE f text := lower(w); h bytea; r text;
BEGIN
 IF octet_length(f) <> length(f) THEN f := {fold}; END IF;
 h := sha256(convert_to(k || f, 'UTF8'));
 r := left(encode({pairs}, 'escape'),
  CASE WHEN length(f) < 2 THEN 1 ELSE greatest(4, least(length(f), 16)) END);
 IF length(w) > 1 AND w = upper(w) AND w <> lower(w) THEN RETURN upper(r); END IF;
 IF left(w, 1) = lower(left(w, 1)) AND left(w, 1) <> upper(left(w, 1)) THEN RETURN r; END IF;
 RETURN upper(left(r, 1)) || substr(r, 2);
END $$""",
        # All digits of `v` in their places, the first of them 000: no number of anybody.
        f"""biso_digits(v text, h text) RETURNS text {_HEAD} $$
DECLARE d text := '000' || translate(h, 'abcdef', '012345'); at int := 1; r text := '';
 rest text := v; part text;
BEGIN
 WHILE rest <> '' LOOP
  part := substring(rest FROM '^[0-9]+');
  IF part IS NULL THEN
   part := substring(rest FROM '^[^0-9]+');
   r := r || part;
  ELSE
   r := r || substr(d, at, length(part));
   at := at + length(part);
  END IF;
  rest := substr(rest, 1 + length(part));
 END LOOP;
 RETURN r;
END $$""",
        f"""biso_filler(v text, h text) RETURNS text {_HEAD} $$
BEGIN
 RETURN 'Text ' || left(h, 8) || ' ' || left(repeat('{FILLER}', 1 + length(v) / {len(FILLER)}),
  greatest(least(length(v), 4000) - 14, 0));
END $$""",
        f"""biso_mail{_ARGS} RETURNS text {_HEAD} $$
BEGIN
 IF n >= 22 AND v ~ '^[^@[:space:]]+@[^@[:space:]]+$' THEN
  RETURN 'x' || left({_WHOLE}, least(n - 17, CASE u WHEN 2 THEN 24 ELSE 12 END))
   || '@example.invalid';
 END IF;
 RETURN pg_temp.biso_text(v, k, n, u, w);
END $$""",
        # +41 79 and 079 are one number: its last nine digits.
        f"""biso_phone{_ARGS} RETURNS text {_HEAD} $$
DECLARE d text := regexp_replace(v, '[^0-9]', '', 'g'); h text;
BEGIN
 IF length(d) < 7 OR length(d) > 20 OR v !~ '^[-+0-9 ()/.]+$' THEN
  RETURN pg_temp.biso_text(v, k, n, u, w);
 END IF;
 h := {_hash("CASE u WHEN 0 THEN right(d, 9) ELSE v END")};
 IF u > 0 THEN RETURN left('000 ' || left(translate(h, 'abcdef', '012345'), 13), n); END IF;
 RETURN left(pg_temp.biso_digits(replace(v, '+', ''), h), n);
END $$""",
        f"""biso_name{_ARGS} RETURNS text {_HEAD} $$
DECLARE r text; rest text := v; part text;
BEGIN
 {empty}
 IF u = 2 OR length(v) > 80 OR v ~ '[@<>{{}}=]' OR v ~ '[0-9]{{3}}' THEN
  RETURN pg_temp.biso_text(v, k, n, u, w);
 END IF;
 IF v ~ '^{_WORD}$' THEN
  r := pg_temp.biso_word(v, k);
 ELSE
  r := '';
  WHILE rest <> '' LOOP
   part := substring(rest FROM '^{_WORD}');
   IF part IS NULL THEN
    part := substring(rest FROM '^[[:space:]!-@\\[-`{{-~]+');
    r := r || part;
   ELSE
    r := r || CASE WHEN lower(part) IN ({kept}) THEN part
     ELSE pg_temp.biso_word(part, k) END;
   END IF;
   rest := substr(rest, 1 + length(part));
  END LOOP;
 END IF;
 IF r IS NULL OR r = v OR lower(v) IN ({kept}) THEN r := pg_temp.biso_word({_WHOLE}, k); END IF;
 RETURN left(r, n);
END $$""",
        # The names of members are the application's own, unless they are no names or known to be
        # originals.
        f"""biso_member(v text, k text, w text[]) RETURNS text {_HEAD} $$
BEGIN
 IF (v = '' OR v ~ '^[[:alpha:]_][[:alnum:]_-]*$') AND NOT v = ANY (w) THEN RETURN v; END IF;
 RETURN pg_temp.biso_name(v, k, 1000000, 0, w);
END $$""",
        # A query only where there are members: a leaf would pay a hundred times for one.
        f"""biso_said(at text, p text[], s text[]) RETURNS text {_HEAD} $$
BEGIN
 RETURN (SELECT s[i] FROM generate_subscripts(p, 1) i WHERE at ~ p[i] ORDER BY i LIMIT 1);
END $$""",
        # With patterns `p` of ways to a place and what `s` says of each, `at` being the way to `j`.
        f"""biso_json(j jsonb, k text, w text[], at text, p text[], s text[])
RETURNS jsonb {_HEAD} $$
DECLARE t text := jsonb_typeof(j); r jsonb; said text := pg_temp.biso_said(at, p, s);
BEGIN
 IF t = 'array' THEN
  SELECT jsonb_agg(pg_temp.biso_json(e.v, k, w, at || '{STEP}#' || e.o - 1, p, s) ORDER BY e.o)
  INTO r FROM jsonb_array_elements(j) WITH ORDINALITY e(v, o);
 ELSIF t = 'object' THEN
  SELECT jsonb_object_agg(CASE pg_temp.biso_said(at || '{STEP}' || e.key, p, s)
    WHEN '{HARMLESS}' THEN e.key ELSE pg_temp.biso_member(e.key, k, w) END,
   pg_temp.biso_json(e.value, k, w, at || '{STEP}' || e.key, p, s)) INTO r FROM jsonb_each(j) e;
 ELSIF said = '{HARMLESS}' THEN
  RETURN j;
 ELSIF t = 'string' AND said IS NOT NULL THEN
  RETURN to_jsonb(CASE {kinds} ELSE pg_temp.biso_text(j #>> '{{}}', k, 1000000, 0, w) END);
 ELSE
  RETURN pg_temp.biso_json(j, k, w);
 END IF;
 RETURN COALESCE(r, j);
END $$""",
        f"""biso_json(j jsonb, k text, w text[]) RETURNS jsonb {_HEAD} $$
DECLARE t text := jsonb_typeof(j); r jsonb;
BEGIN
 IF t = 'string' THEN
  RETURN to_jsonb(pg_temp.biso_text(j #>> '{{}}', k, 1000000, 0, w));
 ELSIF t = 'number' THEN
  IF j::text !~ '^-?[0-9]{{9,}}$' THEN RETURN j; END IF;
  RETURN ('1' || left(translate({_hash("j::text")}, 'abcdef', '012345'),
   least(length(j::text), 60) - 1))::jsonb;
 ELSIF t = 'array' THEN
  SELECT jsonb_agg(pg_temp.biso_json(e.v, k, w) ORDER BY e.o) INTO r
  FROM jsonb_array_elements(j) WITH ORDINALITY e(v, o);
 ELSIF t = 'object' THEN
  SELECT jsonb_object_agg(pg_temp.biso_member(e.key, k, w), pg_temp.biso_json(e.value, k, w))
  INTO r FROM jsonb_each(j) e;
 END IF;
 RETURN COALESCE(r, j);
END $$""",
        # Tags stay, their attributes go: an address stands in href, a name in title.
        f"""biso_html(v text, h text) RETURNS text {_HEAD} $$
BEGIN RETURN (SELECT string_agg(CASE
   WHEN m[1] ~ '^</?[A-Za-z]' THEN regexp_replace(m[1],
    '^<(/?[A-Za-z][A-Za-z0-9:]*)(?:[^>]*?)(/?)>$', '<\\1\\2>')
   WHEN m[1] ~ '^<' THEN '' WHEN m[1] ~ '^[[:space:]]*$' THEN m[1]
   WHEN length(m[1]) < 14 THEN left('{FILLER}', length(m[1]))
   ELSE pg_temp.biso_filler(m[1], h) END, '' ORDER BY o)
  FROM regexp_matches(v, '<[^<>]*>|[^<>]+', 'g') WITH ORDINALITY x(m, o));
END $$""",
        # What PHP's serialize() wrote: lengths count bytes, keys stay. NULL where it is none.
        f"""biso_php(v text, k text, w text[]) RETURNS text {_HEAD} $$
DECLARE b bytea := convert_to(v, 'UTF8'); at int := 1; r text := ''; t text; size int; s text;
 keys bool[] := '{{}}'; deep int := 0; key bool;
BEGIN
 WHILE at <= octet_length(b) LOOP
  t := convert_from(substring(b FROM at FOR 1), 'UTF8');
  IF t = '}}' THEN
   at := at + 1; r := r || t; deep := deep - 1;
   IF deep < 0 THEN RETURN NULL; END IF;
   CONTINUE;
  END IF;
  key := deep > 0 AND keys[deep];
  IF deep > 0 THEN keys[deep] := NOT key; END IF;
  -- Only ASCII before the quotes or the semicolon.
  t := substring(encode(substring(b FROM at FOR 300), 'escape') FROM
   '^(?:s:[0-9]+:"|a:[0-9]+:{{|O:[0-9]+:"[A-Za-z0-9_\\\\]+":[0-9]+:{{|[idbrR]:[-+.0-9A-Za-z]+;|N;)');
  IF t IS NULL THEN RETURN NULL; END IF;
  at := at + octet_length(convert_to(replace(t, '\\\\', '\\'), 'UTF8'));
  IF t ~ '^s:' THEN
   size := substring(t FROM '[0-9]+')::int;
   s := convert_from(substring(b FROM at FOR size), 'UTF8');
   IF substring(b FROM at + size FOR 2) <> '";'::bytea THEN RETURN NULL; END IF;
   at := at + size + 2;
   s := CASE WHEN key THEN pg_temp.biso_member(s, k, w)
    ELSE pg_temp.biso_text(s, k, 1000000, 0, w) END;
   r := r || 's:' || octet_length(convert_to(s, 'UTF8')) || ':"' || s || '";';
  ELSE
   r := r || replace(t, '\\\\', '\\');
   IF t ~ '{{$' THEN deep := deep + 1; keys[deep] := true; END IF;
  END IF;
 END LOOP;
 RETURN CASE WHEN deep = 0 THEN r END;
END $$""",
        # What the application reads back stays readable; NULL where it is plain text.
        f"""biso_formatted(v text, k text, w text[]) RETURNS text {_HEAD} $$
BEGIN
 IF v ~ '^[[:space:]]*[[{{]' THEN RETURN pg_temp.biso_json(v::jsonb, k, w)::text; END IF;
 IF v ~ '^(a|O|s):[0-9]+:["{{]' AND length(v) <= 100000 THEN
  RETURN pg_temp.biso_php(v, k, w);
 END IF;
 RETURN NULL;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN RETURN NULL;
END $$""",
        # Any value, by its form. Ours can be told from real ones: mail at example.invalid, numbers
        # that begin with 000, IBAN with check digits 00.
        f"""biso_text{_ARGS} RETURNS text {_HEAD} $$
DECLARE h text; r text; d text;
BEGIN
 {empty}
 IF u < 2 AND n >= 8 AND length(v) <= 40 AND v ~ '^{_WORD}([ ,.-]+{_WORD}){{0,4}}$' THEN
  RETURN pg_temp.biso_name(v, k, n, u, w);
 END IF;
 IF n >= 22 AND strpos(v, '@') > 0 AND v ~ '^[^@[:space:]]+@[^@[:space:]]+$' THEN
  RETURN pg_temp.biso_mail(v, k, n, u, w);
 END IF;
 IF u < 2 AND v ~ '^[[:space:]]*[[{{]|^[aOs]:[0-9]+:["{{]' THEN
  r := pg_temp.biso_formatted(v, k, w);
  IF r IS NOT NULL AND length(r) <= n THEN RETURN r; END IF;
 END IF;
 h := CASE u WHEN 2 THEN {_hash("v")} ELSE {_WHOLE} END;
 IF u = 0 AND strpos(v, '<') > 0 AND v ~ '</?[A-Za-z][^<>]*>' THEN
  RETURN left(pg_temp.biso_html(v, h), n);
 END IF;
 IF length(v) > 60 THEN RETURN left(pg_temp.biso_filler(v, h), n); END IF;
 d := translate(h, 'abcdef', '012345');
 IF v ~ '^[0-9]+$' THEN
  IF length(v) >= 9 AND u > 0 THEN
   r := '000' || left(d, greatest(length(v), least(n, 20)) - 3);
  ELSIF length(v) >= 9 THEN r := '000' || left(d, length(v) - 3);
  ELSIF u = 2 THEN r := left(d, least(n, 18));
  ELSIF left(d, length(v)) = v THEN r := translate(v, '0123456789', '3456789012');
  ELSE r := left(d, length(v)); END IF;
 ELSIF v ~ '^756[.]?[0-9]{{4}}[.]?[0-9]{{4}}[.]?[0-9]{{2}}$' THEN
  r := '756.0000.' || left(d, 4) || '.' || substr(d, 5, 2);
 ELSIF v ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$' THEN
  r := '19' || left(d, 2) || '-01-1' || substr(d, 3, 1);
 ELSIF v ~ '^[0-9]{{1,2}}[.][0-9]{{1,2}}[.][0-9]{{4}}$' THEN
  r := '1' || left(d, 1) || '.01.19' || substr(d, 2, 2);
 ELSIF v ~ '^[+0-9(][-+0-9 ()/.]{{6,}}$' AND v ~ '[0-9].*[0-9].*[0-9].*[0-9]' THEN
  IF u > 0 THEN r := '000 ' || left(d, greatest(least(n, 17), 12) - 4);
  ELSE r := pg_temp.biso_digits(replace(v, '+', ''),
   {_hash("right(regexp_replace(v, '[^0-9]', '', 'g'), 9)")}); END IF;
 ELSIF v ~ '^[A-Z]{{2}}[0-9]{{2}}[ 0-9A-Z]{{11,30}}$' THEN
  r := left(v, 2) || '00' || left(d, length(replace(v, ' ', '')) - 4);
  IF v ~ ' ' THEN r := btrim(regexp_replace(r, '(.{{4}})', '\\1 ', 'g')); END IF;
 ELSIF n < 8 THEN r := 'x' || h;
 ELSIF u > 0 THEN
  r := initcap(translate(left(h, 20), '0123456789', 'ghklmnprst'));
 ELSIF length(v) > 40 THEN r := pg_temp.biso_filler(v, h);
 ELSIF v !~ '[0-9@]' THEN
  r := pg_temp.biso_word(h, k) || CASE WHEN btrim(v) ~ '[[:space:]]'
   THEN ' ' || pg_temp.biso_word(h || 'x', k) ELSE '' END;
  r := upper(left(r, 1)) || substr(r, 2);
 ELSE r := 'Text ' || left(h, 8); END IF;
 RETURN left(r, n);
END $$""",
        """biso_object(o oid, content bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE f int := lo_open(o, 131072);
BEGIN PERFORM lo_truncate(f, 0); PERFORM lowrite(f, content); PERFORM lo_close(f); END $$""",
    )


def create_functions(conn: psycopg.Connection[Any]) -> None:
    """Makes the functions in the session of `conn`; they go with it."""
    with conn.transaction():
        settle(conn)
        execute(conn, "SET LOCAL check_function_bodies = off")  # they call each other
        utf8 = query(conn, "SHOW server_encoding")[0][0] == "UTF8"
        for function in _functions(_FOLD_UTF8 if utf8 else "f"):
            execute(conn, f"CREATE OR REPLACE FUNCTION pg_temp.{function}")
