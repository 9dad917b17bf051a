/** Common passwords that are long enough to pass the length rule, in lower case without spaces. */
export const COMMON_PASSWORDS: ReadonlySet<string> = new Set([
  'passwordpassword', 'password12345678', 'password123456789', 'password1234567890', 'passw0rdpassw0rd',
  'mypasswordis123', 'mypassword12345', 'mypassword123456', 'thisismypassword', 'thisisapassword',
  'newpassword12345', 'changemechangeme', 'pleasechangeme123', 'letmeinletmein12', 'letmeinletmeinplease',
  'qwertyuiopasdfgh', 'qwertyuiopasdfghjkl', 'qwertyuiopasdfghjklzxcvbnm', 'qwertyuiop12345', 'qwertyuiop123456',
  'qwertyuiop123456789', 'qwertyuiop1234567890', 'qwertyqwerty123', 'qwerty123456789', 'qwerty1234567890',
  '1qaz2wsx3edc4rfv', '1qaz2wsx3edc4rfv5tgb', '1q2w3e4r5t6y7u8i', '1q2w3e4r5t6y7u8i9o0p', 'q1w2e3r4t5y6u7i8',
  'zaq12wsxcde34rfv', '!qaz2wsx#edc4rfv', 'asdfghjklqwertyuiop', 'asdfghjkl123456', 'zxcvbnmasdfghjkl',
  'abc123456789012', 'abcd1234567890123', 'a1b2c3d4e5f6g7h8', 'aa123456789012345', 'iloveyouiloveyou',
  'iloveyou12345678', 'iloveyouforever', 'welcomewelcome1', 'welcome12345678', 'welcome123456789',
  'administrator123', 'administrator1234', 'administratoradministrator', 'adminadminadmin', 'admin1234567890',
  'rootrootrootroot', 'correcthorsebatterystaple', 'trustno1trustno1', 'supersecretpassword', 'supersecret12345',
  'secretpassword123', 'defaultpassword1', 'defaultpassword123', 'temporarypassword', 'temporarypassword1',
  'testpassword1234', 'testtesttesttest', 'footballfootball', 'baseballbaseball', 'sunshinesunshine',
  'princessprincess', 'monkeymonkeymonkey', 'dragondragondragon', 'superman12345678', 'starwarsstarwars',
  'pokemonpokemon1', 'michaeljackson1', 'manchesterunited', 'liverpoolfootballclub', 'jesuschristislord',
  'godisgoodallthetime', 'onetwothreefour', 'onetwothreefourfive', 'nopasswordneeded', 'ilovemyfamily123',
]); // prettier-ignore
