/** Named by Connect's types; DOM declares it where programs have that. */
type HeadersInit = Headers | [string, string][] | Record<string, string>
