"""The words, one per line, in the format that `lexicon` parses.

Nouns: English[/irregular plural], German, gender, German plural ("-": no plural, a mass noun). A trailing
`weak` marks a noun of the n-declension. A noun belongs to one class, which verbs and adjectives select.

Verbs: English base[/past[/participle]], German infinitive[:third person[/second]:participle], then the
classes. `auf|stehen` is separable, `+` after the German verb takes "sein", `sich_` is reflexive, `~` is a
state, without progressive, manner or passive. An English particle follows `_`, a preposition `+`.
"""

NOUNS = {
    "person": """
        man/men Mann m Männer
        woman/women Frau f Frauen
        child/children Kind n Kinder
        girl Mädchen n Mädchen
        boy Junge m Jungen weak
        student Student m Studenten weak
        teacher Lehrer m Lehrer
        doctor Arzt m Ärzte
        neighbour Nachbar m Nachbarn weak
        friend Freund m Freunde
        colleague Kollege m Kollegen weak
        customer Kunde m Kunden weak
        policeman/policemen Polizist m Polizisten weak
        soldier Soldat m Soldaten weak
        journalist Journalist m Journalisten weak
        president Präsident m Präsidenten weak
        king König m Könige
        queen Königin f Königinnen
        prince Prinz m Prinzen weak
        princess Prinzessin f Prinzessinnen
        mother Mutter f Mütter
        father Vater m Väter
        brother Bruder m Brüder
        sister Schwester f Schwestern
        aunt Tante f Tanten
        uncle Onkel m Onkel
        nephew Neffe m Neffen weak
        grandmother Großmutter f Großmütter
        grandfather Großvater m Großväter
        daughter Tochter f Töchter
        son Sohn m Söhne
        baby Baby n Babys
        guest Gast m Gäste
        farmer Bauer m Bauern weak
        baker Bäcker m Bäcker
        gardener Gärtner m Gärtner
        singer Sängerin f Sängerinnen
        writer Schriftsteller m Schriftsteller
        painter Maler m Maler
        lawyer Anwalt m Anwälte
        judge Richter m Richter
        waiter Kellner m Kellner
        witness Zeuge m Zeugen weak
        hero/heroes Held m Helden weak
        thief/thieves Dieb m Diebe
        actress Schauspielerin f Schauspielerinnen
        nurse Krankenschwester f Krankenschwestern
        engineer Ingenieur m Ingenieure""",
    "animal": """
        dog Hund m Hunde
        cat Katze f Katzen
        bird Vogel m Vögel
        cow Kuh f Kühe
        pig Schwein n Schweine
        goat Ziege f Ziegen
        lion Löwe m Löwen weak
        bear Bär m Bären weak
        monkey Affe m Affen weak
        rabbit Hase m Hasen weak
        elephant Elefant m Elefanten weak
        mouse/mice Maus f Mäuse
        wolf/wolves Wolf m Wölfe
        fox Fuchs m Füchse
        goose/geese Gans f Gänse
        frog Frosch m Frösche
        snake Schlange f Schlangen
        tiger Tiger m Tiger""",
    "mount": """
        horse Pferd n Pferde
        donkey Esel m Esel
        camel Kamel n Kamele""",
    "cycle": """
        bicycle Fahrrad n Fahrräder
        motorcycle Motorrad n Motorräder""",
    "car": """
        car Auto n Autos
        lorry Lastwagen m Lastwagen
        taxi Taxi n Taxis""",
    "transit": """
        train Zug m Züge
        bus Bus m Busse
        tram Straßenbahn f Straßenbahnen
        ferry Fähre f Fähren""",
    "aircraft": """
        plane Flugzeug n Flugzeuge
        helicopter Hubschrauber m Hubschrauber""",
    "readable": """
        book Buch n Bücher
        novel Roman m Romane
        newspaper Zeitung f Zeitungen
        poem Gedicht n Gedichte
        article Artikel m Artikel
        magazine Zeitschrift f Zeitschriften
        report Bericht m Berichte
        contract Vertrag m Verträge""",
    "message": """
        letter Brief m Briefe
        postcard Postkarte f Postkarten
        email E-Mail f E-Mails""",
    "food": """
        apple Apfel m Äpfel
        cake Kuchen m Kuchen
        egg Ei n Eier
        sausage Wurst f Würste
        soup Suppe f Suppen
        roll Brötchen n Brötchen
        pear Birne f Birnen
        orange Orange f Orangen
        bread Brot n -
        cheese Käse m -
        rice Reis m -
        meat Fleisch n -
        butter Butter f -""",
    "crop": """
        tomato/tomatoes Tomate f Tomaten
        potato/potatoes Kartoffel f Kartoffeln
        carrot Karotte f Karotten
        cucumber Gurke f Gurken""",
    "drink": """
        coffee Kaffee m -
        tea Tee m -
        milk Milch f -
        water Wasser n -
        beer Bier n -
        wine Wein m -
        juice Saft m -""",
    "garment": """
        coat Mantel m Mäntel
        dress Kleid n Kleider
        shirt Hemd n Hemden
        jacket Jacke f Jacken
        skirt Rock m Röcke
        sweater Pullover m Pullover
        hat Hut m Hüte
        scarf/scarves Schal m Schals
        suit Anzug m Anzüge""",
    "upright": """
        bottle Flasche f Flaschen
        vase Vase f Vasen
        cup Tasse f Tassen
        chair Stuhl m Stühle
        suitcase Koffer m Koffer
        basket Korb m Körbe
        bucket Eimer m Eimer
        pot Topf m Töpfe
        ladder Leiter f Leitern
        box Kiste f Kisten""",
    "flat": """
        key Schlüssel m Schlüssel
        spoon Löffel m Löffel
        fork Gabel f Gabeln
        blanket Decke f Decken
        photo Foto n Fotos
        towel Handtuch n Handtücher
        ring Ring m Ringe
        coin Münze f Münzen
        map Landkarte f Landkarten
        glove Handschuh m Handschuhe""",
    "blade": """
        knife/knives Messer n Messer
        sword Schwert n Schwerter
        axe Axt f Äxte
        razor Rasiermesser n Rasiermesser""",
    "point": """
        pencil Bleistift m Bleistifte
        needle Nadel f Nadeln
        arrow Pfeil m Pfeile""",
    "device": """
        lamp Lampe f Lampen
        computer Computer m Computer
        radio Radio n Radios
        television Fernseher m Fernseher
        machine Maschine f Maschinen
        oven Ofen m Öfen
        phone Telefon n Telefone
        camera Kamera f Kameras""",
    "furniture": """
        table Tisch m Tische
        bed Bett n Betten
        sofa Sofa n Sofas
        shelf/shelves Regal n Regale
        cupboard Schrank m Schränke
        carpet Teppich m Teppiche
        armchair Sessel m Sessel""",
    "opening": """
        door Tür f Türen
        window Fenster n Fenster
        gate Tor n Tore
        drawer Schublade f Schubladen""",
    "building": """
        house Haus n Häuser
        tower Turm m Türme
        bridge Brücke f Brücken
        castle Schloss n Schlösser
        wall Mauer f Mauern""",
    "plant": """
        tree Baum m Bäume
        flower Blume f Blumen
        rose Rose f Rosen
        bush Busch m Büsche""",
    "organisation": """
        company Firma f Firmen
        factory Fabrik f Fabriken
        shop Laden m Läden""",
    "event": """
        concert Konzert n Konzerte
        party Feier f Feiern
        conference Konferenz f Konferenzen
        journey Reise f Reisen
        exam Prüfung f Prüfungen
        wedding Hochzeit f Hochzeiten
        lesson Unterrichtsstunde f Unterrichtsstunden
        performance Vorstellung f Vorstellungen""",
    "idea": """
        problem Problem n Probleme
        task Aufgabe f Aufgaben
        riddle Rätsel n Rätsel
        case Fall m Fälle
        plan Plan m Pläne
        mistake Fehler m Fehler
        rule Regel f Regeln
        secret Geheimnis n Geheimnisse
        question Frage f Fragen
        law Gesetz n Gesetze""",
    "part": """
        roof Dach n Dächer
        owner Besitzer m Besitzer
        price Preis m Preise
        colour Farbe f Farben
        picture Bild n Bilder
        name Name m Namen weak""",
}

# English noun (and irregular plural), German, gender, plural; English place, German place, goal prepositions.
PLACES = """
    garden Garten m Gärten in in in
    kitchen Küche f Küchen in in in
    park Park m Parks in in in
    forest Wald m Wälder in in in
    city/cities Stadt f Städte in in in
    village Dorf n Dörfer in in in
    church Kirche f Kirchen in in in
    school Schule f Schulen at in in
    museum Museum n Museen at in in
    theatre Theater n Theater at in in
    hospital Krankenhaus n Krankenhäuser in in in
    restaurant Restaurant n Restaurants in in in
    library Bibliothek f Bibliotheken in in in
    cellar Keller m Keller in in in
    hotel Hotel n Hotels in in in
    office Büro n Büros in in in
    bank Bank f Banken in in zu
    bank Ufer n Ufer on an -
    court Gericht n Gerichte in in -
    court Spielfeld n Spielfelder on auf -
    station Bahnhof m Bahnhöfe at an zu
    airport Flughafen m Flughäfen at an zu
    harbour Hafen m Häfen at an zu
    university Universität f Universitäten at an zu
    market Markt m Märkte at auf auf
    island Insel f Inseln on auf auf
    mountain Berg m Berge on auf auf
    beach Strand m Strände on an an
    lake See m Seen at an an
    border Grenze f Grenzen at an zu"""

CITIES = """
    Berlin Berlin
    London London
    Hamburg Hamburg
    Munich München
    Vienna Wien
    Cologne Köln
    Rome Rom
    Germany Deutschland
    France Frankreich
    Italy Italien"""

NAMES = "Anna Peter Maria Paul Laura Martin Julia Lena Emma David Clara Robert"

# Classes of nouns that verbs name together.
GROUPS = {
    "ware": "cycle car readable message garment upright flat blade point device furniture",
    "handy": "readable message upright flat blade point",
    "living": "person animal mount",
    "vehicle": "transit aircraft",
    "lying": "flat readable message garment blade point",
}

# Adjectives by the group of noun classes they modify: one English word may be different German ones by noun.
ADJECTIVES = {
    "person": """
        old/older alt älter
        young/younger jung jünger
        tall/taller groß größer
        short/shorter klein kleiner
        bright/brighter klug klüger
        rich/richer reich
        poor/poorer arm ärmer
        tired müde
        friendly freundlich
        famous berühmt
        happy/happier glücklich
        sad/sadder traurig
        lazy/lazier faul
        brave/braver mutig
        sick/sicker krank kränker
        polite höflich
        nervous nervös
        hungry/hungrier hungrig
        strong/stronger stark stärker
        proud/prouder stolz
        curious neugierig
        honest ehrlich
        strict/stricter streng""",
    "animal mount": """
        old/older alt älter
        young/younger jung jünger
        big/bigger groß größer
        small/smaller klein
        wild/wilder wild
        fast/faster schnell
        dangerous gefährlich
        hungry/hungrier hungrig
        tired müde
        lazy/lazier faul
        strong/stronger stark stärker
        curious neugierig""",
    "cycle car transit aircraft": """
        old/older alt älter
        new/newer neu
        fast/faster schnell
        slow/slower langsam
        expensive teuer teurer
        cheap/cheaper billig
        empty/emptier leer
        modern modern
        loud/louder laut
        heavy/heavier schwer""",
    "readable message": """
        old/older alt älter
        new/newer neu
        short/shorter kurz kürzer
        long/longer lang länger
        boring langweilig
        interesting interessant
        exciting spannend
        important wichtig
        good/better gut besser
        sad/sadder traurig""",
    "food crop": """
        fresh/fresher frisch
        hard/harder hart härter
        sweet/sweeter süß
        cold/colder kalt kälter
        warm/warmer warm wärmer
        tasty/tastier lecker
        cheap/cheaper billig
        expensive teuer teurer
        rich/richer gehaltvoll
        good/better gut besser""",
    "drink": """
        hot/hotter heiß
        cold/colder kalt kälter
        sweet/sweeter süß
        fresh/fresher frisch
        strong/stronger stark stärker
        bitter bitter
        good/better gut besser""",
    "garment": """
        light/lighter hell
        dark/darker dunkel dunkler
        red rot
        blue blau
        green grün
        yellow gelb
        elegant elegant
        beautiful schön
        clean/cleaner sauber
        dirty/dirtier schmutzig
        wet/wetter nass
        long/longer lang länger""",
    "upright flat device furniture": """
        light/lighter leicht
        heavy/heavier schwer
        old/older alt älter
        new/newer neu
        big/bigger groß größer
        small/smaller klein
        expensive teuer teurer
        cheap/cheaper billig
        beautiful schön
        red rot
        blue blau
        white weiß
        black schwarz
        useless nutzlos
        dirty/dirtier schmutzig""",
    "blade": """
        sharp/sharper scharf schärfer
        blunt/blunter stumpf
        heavy/heavier schwer
        light/lighter leicht
        old/older alt älter
        long/longer lang länger""",
    "point": """
        sharp/sharper spitz
        blunt/blunter stumpf
        thin/thinner dünn
        thick/thicker dick
        long/longer lang länger
        new/newer neu""",
    "opening building": """
        tall/taller hoch höher
        old/older alt älter
        narrow/narrower schmal
        wide/wider breit
        modern modern
        beautiful schön""",
    "plant": """
        tall/taller hoch höher
        beautiful schön
        green grün
        small/smaller klein
        rare/rarer selten""",
    "organisation place": """
        big/bigger groß größer
        small/smaller klein
        bright/brighter hell
        dark/darker dunkel dunkler
        quiet/quieter ruhig
        famous berühmt
        old/older alt älter
        modern modern
        beautiful schön""",
    "event": """
        long/longer lang länger
        short/shorter kurz kürzer
        boring langweilig
        important wichtig
        interesting interessant
        expensive teuer teurer
        beautiful schön""",
    "idea": """
        hard/harder schwierig
        easy/easier leicht
        important wichtig
        new/newer neu
        dangerous gefährlich
        strange/stranger seltsam
        interesting interessant
        simple/simpler einfach""",
    "part": """
        old/older alt älter
        new/newer neu
        beautiful schön
        strange/stranger seltsam""",
}

# One noun takes no two adjectives of a line.
SCALES = """
    big small tall short
    old new young modern
    rich poor
    happy sad
    expensive cheap
    clean dirty
    light dark heavy bright
    fast slow
    long short
    hard easy simple
    hot cold warm
    sharp blunt
    thin thick narrow wide
    quiet loud
    sweet bitter salty
    boring interesting exciting
    red blue green yellow white black"""

# classes of the subject
INTRANSITIVE = """
    sleep/slept schlafen:schläft:geschlafen living
    work arbeiten person
    laugh lachen person
    cry weinen person
    sing/sang/sung singen::gesungen person
    dance tanzen person
    swim/swam/swum schwimmen::geschwommen+ living
    cough husten person
    snore schnarchen person
    smile lächeln person
    arrive an|kommen::gekommen+ person|vehicle
    leave/left ab|fahren:fährt:gefahren+ transit
    land landen+ aircraft
    take_off/took/taken ab|heben::gehoben aircraft
    get_up/got auf|stehen::gestanden+ person
    wake_up/woke/woken auf|wachen+ living
    fall_asleep/fell/fallen ein|schlafen:schläft:geschlafen+ living
    come_back/came/come zurück|kommen::gekommen+ person
    give_up/gave/given auf|geben:gibt:gegeben person
    tidy_up auf|räumen person
    go_out/went/gone aus|gehen::gegangen+ person
    go_shopping/went/gone ein|kaufen person
    run_away/ran/run weg|laufen:läuft:gelaufen+ living
    hurry sich_beeilen person
    rest sich_aus|ruhen person
    shave sich_rasieren person
    get_dressed/got sich_an|ziehen::gezogen person
    get_lost/got sich_verlaufen:verläuft:verlaufen person
    fall_ill/fell/fallen erkranken+ person
    bark bellen::gebellt dog
    disappear verschwinden::verschwunden+ living|flat
    grow/grew/grown wachsen:wächst:gewachsen+ plant
    stop an|halten:hält/hältst:gehalten car|transit"""

# classes of the object; the subject is a person
TRANSITIVE = """
    buy/bought kaufen ware|food|crop|drink|plant|mount
    sell/sold verkaufen ware|food|crop|mount
    find/found finden::gefunden ware|living
    lose/lost verlieren::verloren flat|readable|garment
    look_for/looked suchen ware|person|animal
    need~ brauchen ware|person|food
    own~ besitzen::besessen ware|mount|building
    have/had~ haben animal|ware|idea
    repair reparieren device|cycle|car|furniture|building
    clean putzen opening|device|car
    carry tragen:trägt:getragen handy|furniture
    hide/hid/hidden verstecken handy
    steal/stole/stolen stehlen:stiehlt:gestohlen ware|animal
    eat/ate/eaten essen:isst:gegessen food|crop
    drink/drank/drunk trinken::getrunken drink
    bake backen:backt:gebacken cake
    order bestellen food|drink|ware
    read/read lesen:liest:gelesen readable|message
    write/wrote/written schreiben::geschrieben readable|message
    open öffnen opening|upright
    close schließen::geschlossen opening
    visit besuchen person|museum
    love~ lieben person|animal|garment|plant
    hate~ hassen person|animal|rule
    like~ mögen:mag/magst:gemocht person|animal|food|drink|readable
    know/knew/known~ kennen::gekannt person|readable|secret|part
    understand/understood~ verstehen::verstanden idea|readable
    see/saw/seen~ sehen:sieht:gesehen person|animal|building|vehicle|part
    hear/heard~ hören animal|vehicle
    paint malen animal|building|plant
    forget/forgot/forgotten~ vergessen:vergisst:vergessen handy|idea|part
    invite ein|laden:lädt/lädst:geladen person
    call an|rufen::gerufen person
    pick_up ab|holen person
    pick_up auf|heben::gehoben flat|point
    turn_on ein|schalten device
    turn_off aus|schalten device
    put_on/put an|ziehen::gezogen garment
    take_off/took/taken aus|ziehen::gezogen garment
    try_on an|probieren garment
    wear/wore/worn tragen:trägt:getragen garment
    wash waschen:wäscht:gewaschen garment|car
    feed/fed füttern animal|mount
    catch/caught fangen:fängt:gefangen animal
    catch/caught erreichen transit
    miss verpassen transit|event
    miss~ vermissen person|animal
    ride/rode/ridden reiten::geritten mount
    ride/rode/ridden fahren:fährt:gefahren cycle
    drive/drove/driven fahren:fährt:gefahren car
    fly/flew/flown fliegen::geflogen aircraft
    leave/left verlassen:verlässt:verlassen building|organisation|place
    build/built bauen building|ladder|furniture
    run/ran/run leiten organisation
    grow/grew/grown an|bauen crop
    throw_away/threw/thrown weg|werfen:wirft:geworfen upright|flat|garment|food
    bring_along/brought mit|bringen::gebracht handy|food|person
    prepare vor|bereiten event
    cancel ab|sagen event
    postpone verschieben::verschoben event
    organise organisieren event
    solve lösen idea
    discuss besprechen:bespricht:besprochen idea|readable
    describe beschreiben::beschrieben person|animal|building|part
    answer beantworten message|question
    praise loben person
    greet begrüßen person
    protect beschützen living
    save retten person|animal
    hug umarmen person
    accompany begleiten person
    disturb stören person
    meet/met treffen:trifft:getroffen person
    get_to_know/got kennen|lernen person
    admire~ bewundern person|building|part
    observe beobachten person|animal
    examine untersuchen::untersucht person|animal|device
    break/broke/broken zerbrechen:zerbricht:zerbrochen upright
    sharpen schärfen blade
    sharpen spitzen point"""

DATIVE = """
    help helfen:hilft:geholfen person
    thank danken person
    answer antworten person
    follow folgen+ living|vehicle
    trust~ vertrauen person
    congratulate gratulieren person
    listen_to/listened zu|hören person
    obey~ gehorchen person
    forgive/forgave/forgiven~ verzeihen::verziehen person
    run_after/ran/run nach|laufen:läuft:gelaufen+ living|vehicle"""

# German preposition and case, classes of its object
PREPOSITIONAL = """
    wait+for warten auf:acc person|transit|message
    think/thought+of denken::gedacht an:acc person|event|idea
    talk+about sprechen:spricht:gesprochen über:acc living|event|idea|readable
    laugh+about lachen über:acc mistake|person|picture
    dream+of träumen von:dat person|event|building|mount
    believe+in~ glauben an:acc person|law|plan
    take_part/took/taken+in teil|nehmen:nimmt:genommen an:dat event
    ask+about fragen nach:dat price|name|person
    remember~ sich_erinnern an:acc person|event|name
    look_forward+to~ sich_freuen auf:acc event|message
    complain+about sich_beschweren über:acc person|rule|device|price
    fall_in_love/fell/fallen+with sich_verlieben in:acc person
    worry+about~ sich_sorgen um:acc person|animal
    look/looked+after sich_kümmern um:acc living|plant
    concentrate+on sich_konzentrieren auf:acc idea|exam|readable
    prepare+for sich_vor|bereiten auf:acc event
    apologise+to sich_entschuldigen bei:dat person
    argue+with streiten::gestritten mit:dat person
    dance+with tanzen mit:dat person"""

# classes of the thing; the person is in the dative
DITRANSITIVE = """
    give/gave/given geben:gibt:gegeben handy|garment|food
    show/showed/shown zeigen handy|animal|picture
    send/sent schicken readable|message
    lend/lent leihen::geliehen handy|cycle
    bring/brought bringen::gebracht handy|food|drink
    offer an|bieten::geboten food|drink
    promise versprechen:verspricht:versprochen animal|cycle|journey
    sell/sold verkaufen animal|mount
    tell/told erzählen secret"""

# classes of the subject and of the furniture or "place"
POSITION = """
    live wohnen person place
    stay bleiben::geblieben+ person place
    sit/sat sitzen::gesessen person|animal furniture
    stand/stood stehen::gestanden upright|device furniture
    lie/lay/lain liegen::gelegen flat|readable|garment furniture"""

MOTION = """
    go/went/gone gehen::gegangen+
    run/ran/run rennen::gerannt+
    travel reisen+
    come/came/come kommen::gekommen+
    return zurück|kehren+
    move um|ziehen::gezogen+"""

# "go ... by train": the vehicle determines the German verb
TRANSPORT = """
    by=mit_dem train=Zug fahren:fährt:gefahren+
    by=mit_dem car=Auto fahren:fährt:gefahren+
    by=mit_dem bus=Bus fahren:fährt:gefahren+
    by=mit_dem bicycle=Fahrrad fahren:fährt:gefahren+
    by=mit_der ferry=Fähre fahren:fährt:gefahren+
    by=mit_dem plane=Flugzeug fliegen::geflogen+
    on=zu foot=Fuß gehen::gegangen+"""

PLACING = """
    put/put stellen upright
    put/put legen lying"""

THAT = """
    say/said sagen
    know/knew/known~ wissen:weiß/weißt:gewusst
    believe~ glauben
    think/thought~ denken::gedacht
    hope~ hoffen
    hear/heard~ hören
    see/saw/seen~ sehen:sieht:gesehen
    claim behaupten
    notice~ bemerken
    regret~ bedauern
    suspect~ vermuten
    admit zu|geben:gibt:gegeben
    announce an|kündigen
    forget/forgot/forgotten~ vergessen:vergisst:vergessen"""

WHETHER = """
    ask fragen
    know/knew/known~ wissen:weiß/weißt:gewusst
    wonder~ sich_fragen
    find_out/found heraus|finden::gefunden"""

INFINITIVE = """
    try versuchen
    begin/began/begun an|fangen:fängt:gefangen
    forget/forgot/forgotten~ vergessen:vergisst:vergessen
    decide~ beschließen::beschlossen
    promise versprechen:verspricht:versprochen
    hope~ hoffen
    refuse~ sich_weigern
    intend~ vor|haben:hat/hast:gehabt
    offer an|bieten::geboten"""

# case of the person who acts
CONTROL = """
    ask bitten::gebeten acc
    persuade überreden::überredet acc
    force zwingen::gezwungen acc
    encourage ermutigen acc
    invite ein|laden:lädt/lädst:geladen acc
    allow erlauben dat
    advise raten:rät/rätst:geraten dat
    forbid/forbade/forbidden verbieten::verboten dat
    help helfen:hilft:geholfen dat"""

# English=German pieces, each linked as a unit, then the time spheres in which the phrase may occur.
TIMES = """
    yesterday=gestern past
    last=letzte week=Woche past
    last=letztes year=Jahr past
    last=letzten Monday=Montag past
    yesterday=gestern evening=Abend past
    today=heute now past future
    this=heute morning=Morgen past
    now=jetzt now
    every=jeden day=Tag now
    every=jeden evening=Abend now
    every=jede night=Nacht now
    every=jedes year=Jahr now
    on=am Sunday=Sonntag now future past
    on=am Friday=Freitag past future
    in_the=am morning=Morgen now past future
    in_the=am afternoon=Nachmittag now past future
    in_the=am evening=Abend now past future
    at=in_der night=Nacht now past
    in=im summer=Sommer now past future
    in=im winter=Winter now past future
    at_the=am weekend=Wochenende now past future
    tomorrow=morgen future
    tomorrow=morgen evening=Abend future
    next=nächste week=Woche future
    next=nächstes year=Jahr future
    soon=bald future"""

UNITS = """
    days Tagen
    weeks Wochen
    months Monaten
    years Jahren"""

FREQUENCY = "often=oft always=immer never=nie sometimes=manchmal rarely=selten usually=meistens"

MANNER = """
    quickly=schnell slowly=langsam carefully=vorsichtig loudly=laut quietly=leise secretly=heimlich
    calmly=ruhig alone=allein patiently=geduldig proudly=stolz"""

COMMENTS = "unfortunately=leider perhaps=vielleicht suddenly=plötzlich of_course=natürlich therefore=deshalb"

# English base, German infinitive forms: 1st, 2nd, 3rd person singular, plural (present or past)
MODALS = {
    "now": """
        can kann kannst kann können
        must muss musst muss müssen
        should sollte solltest sollte sollten
        may darf darfst darf dürfen
        want_to will willst will wollen
        would_like_to möchte möchtest möchte möchten""",
    "past": """
        could konnte konntest konnte konnten
        had_to musste musstest musste mussten
        wanted_to wollte wolltest wollte wollten""",
}

# The wholes of the nouns of the class "part".
WHOLES = """
    roof house|castle|tower|school|church|hotel
    owner ware|organisation|house|castle|restaurant|hotel
    price ware|crop
    colour garment|car|furniture|rose|flower|door
    picture person|animal|castle|bridge|village
    name person|dog|cat|mount|company|village"""
